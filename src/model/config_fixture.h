// Configs and folders that the tests of this folder start from.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "model/config.h"
#include "model/synth_presets.h"

namespace baleen::test {

// A file of the shared folder; when it is missing the test fails.
inline std::string shared_text(const std::string& file) {
    const char* shared = std::getenv("BALEEN_SHARED");
    const auto text =
        read_file(std::string(shared ? shared : "../shared") + "/" + file, size_t{64} << 20);
    EXPECT_TRUE(text) << text.error().message;
    return text ? *text : std::string();
}

inline Json official_config(const std::string& file) {
    auto json = parse_json(shared_text("spec/" + file));
    EXPECT_TRUE(json) << json.error().message;
    return json ? *json : Json::object();
}

// Every layer kind, hash routing and an MTP block, in a few megabytes.
inline Json tiny_config() {
    return preset_config(SynthPreset::kTiny);
}

// The same with three DSpark stages instead of the MTP block (spec 13.1).
inline Json tiny_dspark_config() {
    Json json = tiny_config();
    json["compress_ratios"].push_back(0);
    json["compress_ratios"].push_back(0);
    json["dspark_block_size"] = 5;
    json["dspark_noise_token_id"] = 300;
    json["dspark_target_layer_ids"] = {3, 4, 5};
    json["dspark_markov_rank"] = 32;
    return json;
}

// An empty folder, removed with its contents.
class TempFolder {
  public:
    TempFolder() {
        static int count = 0;
        path_ = std::filesystem::temp_directory_path() /
                fmt::format("baleen_test_{}_{}", ::getpid(), count++);
        std::filesystem::remove_all(path_);
        std::filesystem::create_directories(path_);
    }
    ~TempFolder() { std::filesystem::remove_all(path_); }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    std::string path() const { return path_.string(); }

  private:
    std::filesystem::path path_;
};

}  // namespace baleen::test
