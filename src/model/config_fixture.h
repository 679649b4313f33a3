// Configs that the tests of this folder start from.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "model/config.h"
#include "model/synth_presets.h"

namespace baleen::test {

// A config.json of the shared spec folder; a missing file fails the test.
inline Json official_config(const std::string& file) {
    const char* shared = std::getenv("BALEEN_SHARED");
    const std::string path = std::string(shared ? shared : "../shared") + "/spec/" + file;
    const auto text = read_file(path, kConfigBytesMax);
    EXPECT_TRUE(text) << text.error().message;
    if (!text) return Json::object();
    auto json = parse_json(*text);
    EXPECT_TRUE(json) << json.error().message;
    return json ? *json : Json::object();
}

// Every layer kind, hash routing and an MTP block, in a few megabytes.
inline Json tiny_config() { return preset_config(SynthPreset::kTiny); }

}  // namespace baleen::test
