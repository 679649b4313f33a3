#include "tensor/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace baleen {
namespace {

namespace fs = std::filesystem;

std::vector<uint8_t> shard_bytes(std::string_view header, size_t data_size) {
    std::vector<uint8_t> bytes(8 + header.size() + data_size);
    const uint64_t length = header.size();
    std::memcpy(bytes.data(), &length, 8);
    std::memcpy(bytes.data() + 8, header.data(), header.size());
    for (size_t i = 0; i < data_size; ++i) bytes[8 + header.size() + i] = static_cast<uint8_t>(i);
    return bytes;
}

constexpr std::string_view kGoodHeader =
    R"({"__metadata__":{"format":"pt"},)"
    R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},)"
    R"("a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
    R"("odd":{"dtype":"F4_NEW","shape":[5],"data_offsets":[14,17]},)"
    R"("none":{"dtype":"I64","shape":[0,7],"data_offsets":[17,17]}}   )";
constexpr size_t kGoodData = 17;

TEST(Safetensors, ReadsNamesShapesAndBytes) {
    const auto bytes = shard_bytes(kGoodHeader, kGoodData);
    const auto tensors = parse_safetensors(bytes);
    ASSERT_TRUE(tensors) << tensors.error().message;
    ASSERT_EQ(tensors->size(), 4u);
    const StoredTensor& a = (*tensors)[0];
    EXPECT_EQ(a.name, "a");
    EXPECT_EQ(a.dtype, DType::kF32);
    EXPECT_EQ(a.shape, (std::vector<uint64_t>{2, 1}));
    EXPECT_EQ(a.shape_text(), "[2, 1]");
    EXPECT_EQ(a.data.size(), 8u);
    EXPECT_EQ(a.data[3], 3);
    EXPECT_EQ((*tensors)[1].name, "b");
    EXPECT_EQ((*tensors)[1].data[0], 8);
    EXPECT_FALSE((*tensors)[2].dtype);  // unknown: kept, an error only for who needs it
    EXPECT_EQ((*tensors)[2].dtype_text, "F4_NEW");
    EXPECT_TRUE((*tensors)[3].data.empty());
}

TEST(Safetensors, AnEmptyHeaderHasNoTensors) {
    const auto tensors = parse_safetensors(shard_bytes("{}", 0));
    ASSERT_TRUE(tensors) << tensors.error().message;
    EXPECT_TRUE(tensors->empty());
}

struct BadHeader {
    const char* header;
    size_t data_size;
    const char* message;
};

TEST(Safetensors, BadHeadersAreNamed) {
    const BadHeader cases[] = {
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "does not take 4 bytes"},
        {R"({"a":{"dtype":"I8","shape":[8],"data_offsets":[8,0]}})", 8, "data_offsets are [8, 0]"},
        {R"({"a":{"dtype":"I8","shape":[9],"data_offsets":[0,9]}})", 8, "end <= 8"},
        {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[4,8]}})", 8, "after a hole"},
        {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})", 8, "the data at byte 8"},
        {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},)"
         R"("b":{"dtype":"I8","shape":[4],"data_offsets":[2,6]}})",
         6, "inside the tensor"},
        {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},)"
         R"("a":{"dtype":"I8","shape":[4],"data_offsets":[4,8]}})",
         8, "twice"},
        {R"({"a":{"dtype":"I8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1, "given twice"},
        {R"({"a":{"dtype":"I64","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8,
         "does not take"},
        {R"({"a":{"dtype":"I8","shape":[18446744073709551616],"data_offsets":[0,8]}})", 8,
         "is not allowed"},
        {R"({"a":{"dtype":"I8","shape":[-1],"data_offsets":[0,8]}})", 8, "-1 is not allowed"},
        {R"({"a":{"dtype":"I8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
         "more than 8 numbers"},
        {R"({"a":{"dtype":"I8","shape":[8],"data_offsets":[0]}})", 8, "has 1 numbers"},
        {R"({"a":{"dtype":"I8","shape":[8]}})", 8, "are required"},
        {R"({"a":{"dtype":7,"shape":[8],"data_offsets":[0,8]}})", 8, "7 is not allowed"},
        {R"({"a":{"dtype":"I8","shape":[[8]],"data_offsets":[0,8]}})", 8, "a list is not allowed"},
        {R"({"a":{"dtype":"I8","shape":[8],"data_offsets":[0,8],"x":1}})", 8, "unknown field x"},
        {R"({"a":[1]})", 0, "a list is not allowed"},
        {R"({"a":null})", 0, "null is not allowed"},
        {R"({"__metadata__":{"x":{}}})", 0, "an object is not allowed"},
        {R"([])", 0, "a list is not allowed"},
        {R"("text")", 0, "a string is not allowed"},
        {R"({"a":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}} x)", 0, "bad JSON at byte"},
        {"", 0, "bad JSON"},
    };
    for (const BadHeader& bad : cases) {
        const auto tensors = parse_safetensors(shard_bytes(bad.header, bad.data_size));
        ASSERT_FALSE(tensors) << bad.header;
        EXPECT_NE(tensors.error().message.find(bad.message), std::string::npos)
            << bad.header << "\n"
            << tensors.error().message;
    }
}

TEST(Safetensors, HeaderLengthIsLimitedByTheFile) {
    std::vector<uint8_t> bytes(64, 0xFF);
    auto tensors = parse_safetensors(bytes);
    ASSERT_FALSE(tensors);
    EXPECT_NE(tensors.error().message.find("expected at most 56"), std::string::npos);
    for (size_t size = 0; size < 8; ++size)
        EXPECT_FALSE(parse_safetensors(std::span(bytes).first(size)));
}

TEST(Safetensors, TruncationAtEveryByteIsAnError) {
    const auto bytes = shard_bytes(kGoodHeader, kGoodData);
    for (size_t size = 0; size < bytes.size(); ++size) {
        // Exactly sized, so that a sanitizer sees any read beyond it.
        const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<int64_t>(size));
        EXPECT_FALSE(parse_safetensors(cut)) << size;
    }
}

// Whatever a flipped byte makes of the header, the result is an error or tensors inside the file.
TEST(Safetensors, EveryHeaderByteFlippedStaysInBounds) {
    const auto good = shard_bytes(kGoodHeader, kGoodData);
    size_t num_errors = 0;
    for (size_t at = 0; at < 8 + kGoodHeader.size(); ++at)
        for (int bit = 0; bit < 8; ++bit) {
            std::vector<uint8_t> bytes = good;
            bytes[at] = static_cast<uint8_t>(bytes[at] ^ (1 << bit));
            const auto tensors = parse_safetensors(bytes);
            if (!tensors) {
                ++num_errors;
                continue;
            }
            uint64_t covered = 0;
            for (const StoredTensor& tensor : *tensors) {
                EXPECT_TRUE(tensor.data.empty() || (tensor.data.data() >= bytes.data() &&
                                                    tensor.data.data() + tensor.data.size() <=
                                                        bytes.data() + bytes.size()));
                covered += tensor.data.size();
            }
            EXPECT_EQ(covered, kGoodData);
        }
    EXPECT_GT(num_errors, kGoodHeader.size());
}

class CheckpointFolder : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = fs::temp_directory_path() / fmt::format("baleen_safetensors_{}", ::getpid());
        fs::remove_all(folder_);
        fs::create_directories(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }

    void write(const std::string& name, std::string_view text) {
        std::ofstream(folder_ / name, std::ios::binary) << text;
    }
    void write_shard(const std::string& name, std::string_view header, size_t data_size) {
        const auto bytes = shard_bytes(header, data_size);
        write(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    void write_index(std::string_view weight_map) {
        write("model.safetensors.index.json",
              fmt::format(R"({{"metadata":{{"total_size":1,"x":[{{}}]}},"weight_map":{}}})",
                          weight_map));
    }
    Result<Checkpoint> open() { return Checkpoint::open(folder_.string()); }

    fs::path folder_;
};

constexpr std::string_view kShardA = R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})";
constexpr std::string_view kShardB = R"({"b":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},)"
                                     R"("extra":{"dtype":"I8","shape":[1],"data_offsets":[2,3]}})";

TEST_F(CheckpointFolder, SingleFile) {
    write_shard("model.safetensors", kShardA, 4);
    const auto checkpoint = open();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    ASSERT_NE((*checkpoint).find("a"), nullptr);
    EXPECT_EQ((*checkpoint).find("b"), nullptr);
    EXPECT_EQ((*checkpoint).bytes(), 4u);
}

TEST_F(CheckpointFolder, IndexedShards) {
    write_shard("one.safetensors", kShardA, 4);
    write_shard("two.safetensors", kShardB, 3);
    write_index(R"({"a":"one.safetensors","b":"two.safetensors"})");
    auto checkpoint = open();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_TRUE(checkpoint->problems().empty());
    EXPECT_EQ(checkpoint->find("b")->shard_idx, 1u);
    EXPECT_EQ(checkpoint->unlisted(), std::vector<std::string>{"extra"});
    EXPECT_EQ(checkpoint->bytes(), 6u);
    // Views outlive the Checkpoint with its shards.
    const auto data = checkpoint->find("a")->data;
    const auto shards = std::move(*checkpoint).take_shards();
    EXPECT_EQ(data[3], 3);
}

TEST_F(CheckpointFolder, ProblemsOfAllShardsAreKept) {
    write_shard("one.safetensors", kShardA, 4);
    write_shard("cut.safetensors", kShardA, 3);
    fs::create_symlink("loop.safetensors", folder_ / "loop.safetensors");
    fs::create_directory(folder_ / "folder.safetensors");
    write_index(R"({"a":"one.safetensors","missing":"one.safetensors","c":"cut.safetensors",)"
                R"("l":"loop.safetensors","f":"folder.safetensors","g":"gone.safetensors"})");
    const auto checkpoint = open();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    std::string all;
    for (const std::string& problem : (*checkpoint).problems()) all += problem + "\n";
    EXPECT_EQ((*checkpoint).problems().size(), 5u) << all;
    for (const char* part :
         {"has no tensor missing", "data_offsets are [0, 4]", "Too many levels of symbolic links",
          "not a regular file", "gone.safetensors: cannot open"})
        EXPECT_NE(all.find(part), std::string::npos) << part << " in\n" << all;
    EXPECT_NE((*checkpoint).find("a"), nullptr);
}

TEST_F(CheckpointFolder, SymbolicLinksToFilesAreFollowed) {
    write_shard("blob", kShardA, 4);
    fs::create_symlink("blob", folder_ / "model.safetensors");
    EXPECT_TRUE(open());
}

TEST_F(CheckpointFolder, ShardNamesStayInsideTheFolder) {
    for (const char* name : {"../x", "/etc/passwd", "sub/x", "..", ".", "", "a\\u0000b"}) {
        write_index(fmt::format(R"({{"a":"{}"}})", name));
        const auto checkpoint = open();
        ASSERT_FALSE(checkpoint) << name;
        EXPECT_NE(checkpoint.error().message.find("not a file name inside the folder"),
                  std::string::npos)
            << checkpoint.error().message;
    }
}

TEST_F(CheckpointFolder, BadIndexes) {
    const std::pair<const char*, const char*> cases[] = {
        {"", "bad JSON"},
        {"{}", "has no weight_map"},
        {R"({"weight_map":7})", "a number is not allowed"},
        {R"({"weight_map":"x"})", "weight_map is not an object"},
        {R"({"weight_map":{"a":7}})", "tensor a"},
        {R"({"weight_map":{"a":"x","a":"y"}})", "listed twice"},
        {R"({"weight_map":{},"weight_map":{}})", "given twice"},
        {R"({"weight_map":{"a":{"b":"c"}}})", "an object is not allowed"},
        {R"({"weight_map":{"a":"x"})", "bad JSON"},
    };
    for (const auto& [text, message] : cases) {
        write("model.safetensors.index.json", text);
        const auto checkpoint = open();
        ASSERT_FALSE(checkpoint) << text;
        EXPECT_NE(checkpoint.error().message.find(message), std::string::npos)
            << text << ": " << checkpoint.error().message;
    }
}

TEST_F(CheckpointFolder, NothingThere) {
    const auto checkpoint = open();
    ASSERT_FALSE(checkpoint);
    EXPECT_EQ(checkpoint.error().code, ErrorCode::kNotFound);
    EXPECT_NE(checkpoint.error().message.find("model.safetensors.index.json"), std::string::npos);
}

// 150,000 tensors are what V4-Pro has; a quadratic reader would not end within the test's limit.
TEST_F(CheckpointFolder, ManyTensors) {
    std::string header = "{";
    std::string map = "{";
    for (int i = 0; i < 150'000; ++i) {
        header +=
            fmt::format(R"({}"layers.{}":{{"dtype":"I8","shape":[1],"data_offsets":[{},{}]}})",
                        i ? "," : "", i, i, i + 1);
        map += fmt::format(R"({}"layers.{}":"x.safetensors")", i ? "," : "", i);
    }
    write_shard("x.safetensors", header + "}", 150'000);
    write_index(map + "}");
    const auto checkpoint = open();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_TRUE((*checkpoint).problems().empty());
    EXPECT_EQ((*checkpoint).tensors().size(), 150'000u);
    EXPECT_EQ((*checkpoint).find("layers.149999")->data[0], static_cast<uint8_t>(149'999));
}

}  // namespace
}  // namespace baleen
