// What the tests of the store and of importers share: a temporary folder, archives, stores.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/secret.h"
#include "sandbox/image/importer.h"
#include "sandbox/image/layer_fixture.h"
#include "sandbox/image/store.h"
#include "sandbox/image/tar_writer.h"

namespace baleen::sandbox::image {

class TemporaryTest : public testing::Test {
  protected:
    TemporaryTest() {
        folder_ = std::filesystem::temp_directory_path() / ("baleen_image_" + random_name(10));
        std::filesystem::create_directories(folder_);
    }
    ~TemporaryTest() override { std::filesystem::remove_all(folder_); }

    std::string path(const std::string& name) const { return (folder_ / name).string(); }

    std::string write(const std::string& name, std::string_view text) const {
        std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
        std::ofstream(path(name), std::ios::binary) << text;
        return path(name);
    }

    std::unique_ptr<ImageStore> open_store(ImageStore::Options options = {}) const {
        options.open = ImageStore::Open::kCreate;
        return ImageStore::open(path("store"), std::move(options)).value();
    }

    // All files of the store by name, without the lock.
    std::vector<std::string> store_files() const {
        std::vector<std::string> files;
        for (const auto& file : std::filesystem::recursive_directory_iterator(path("store")))
            if (file.is_regular_file() && file.path().filename() != ".lock")
                files.push_back(file.path().lexically_relative(path("store")).string());
        std::sort(files.begin(), files.end());
        return files;
    }

  private:
    std::filesystem::path folder_;
};

inline std::string tar_of(const std::vector<TestFile>& files) {
    MemorySink sink;
    TarWriter writer(sink);
    for (const TestFile& file : files) {
        Entry entry = file.entry;
        if (entry.kind == EntryKind::kSocket) continue;
        if (entry.kind == EntryKind::kRegular) entry.size = file.content.size();
        EXPECT_TRUE(writer.add(entry));
        EXPECT_TRUE(writer.append(bytes_of(file.content)));
    }
    EXPECT_TRUE(writer.finish());
    return {sink.bytes.begin(), sink.bytes.end()};
}

inline ImageRef ref(const std::string& text) {
    return ImageRef::parse(text).value();
}

// Paths of a layer in order, "!" behind whiteouts, "*" behind opaque directories, "=content" behind
// files.
inline std::string shown(const LoadedLayer& layer) {
    std::string text;
    const auto walked = walk_layer(
        layer.reader(), [&](const Entry& entry, const ErofsInode& inode) -> Result<void> {
            text += "/" + entry.path;
            if (is_whiteout(entry)) text += "!";
            if (is_opaque(entry.attributes)) text += "*";
            if (entry.kind == EntryKind::kHardLink) text += "->" + entry.target;
            if (entry.kind == EntryKind::kRegular) {
                text += "=";
                TRY(read_content(layer.reader(), inode, layer.data(),
                                 [&](std::span<const uint8_t> bytes, uint64_t hole) {
                                     text.append(bytes.begin(), bytes.end());
                                     text.append(hole, '\0');
                                     return Result<void>();
                                 }));
            }
            text += " ";
            return {};
        });
    EXPECT_TRUE(walked) << (walked ? "" : walked.error().message);
    return text;
}

}  // namespace baleen::sandbox::image
