#include "model/weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <map>

#include "model/checkpoint_report.h"
#include "model/config_fixture.h"
#include "model/synth.h"

namespace baleen {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;

// A checkpoint taken apart: tests change tensors and write it back as one shard.
struct Loose {
    struct Tensor {
        std::string dtype;
        std::vector<uint64_t> shape;
        std::vector<uint8_t> bytes;
    };
    Json config;
    std::map<std::string, Tensor> tensors;

    void write(const std::string& folder) const {
        fs::remove_all(folder);
        fs::create_directories(folder);
        std::string header = "{";
        std::string data;
        for (const auto& [name, t] : tensors) {
            header +=
                fmt::format(R"({}"{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                            header.size() > 1 ? "," : "", name, t.dtype, dump_json(Json(t.shape)),
                            data.size(), data.size() + t.bytes.size());
            data.append(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
        }
        header += "}";
        std::string length(8, '\0');
        const uint64_t header_bytes = header.size();
        std::memcpy(length.data(), &header_bytes, 8);
        ASSERT_TRUE(write_file_atomically(folder + "/model.safetensors", length + header + data));
        ASSERT_TRUE(write_file_atomically(folder + "/config.json", dump_json(config)));
    }
};

Loose take_apart(const Json& config) {
    TempFolder folder;
    ThreadPool pool(2);
    Loose loose{.config = config, .tensors = {}};
    const auto written =
        write_synthetic_checkpoint(config, {.directory = folder.path(), .seed = 3}, pool);
    EXPECT_TRUE(written) << written.error().message;
    const auto checkpoint = Checkpoint::open(folder.path());
    EXPECT_TRUE(checkpoint);
    for (const StoredTensor& t : (*checkpoint).tensors())
        loose.tensors[t.name] = {t.dtype_text, t.shape, {t.data.begin(), t.data.end()}};
    return loose;
}

const Loose& tiny() {
    static const Loose loose = take_apart(test::tiny_config());
    return loose;
}

Result<std::shared_ptr<const Weights>> load(const Loose& loose) {
    TempFolder folder;
    loose.write(folder.path());
    return Weights::load(folder.path());
}

bool same_bytes(const uint8_t* data, const Loose::Tensor& tensor) {
    return std::memcmp(data, tensor.bytes.data(), tensor.bytes.size()) == 0;
}

TEST(Weights, EveryRoleIsBoundToItsTensor) {
    const auto loaded = load(tiny());
    ASSERT_TRUE(loaded) << loaded.error().message;
    const Weights& w = **loaded;
    const auto& t = tiny().tensors;
    ASSERT_EQ(w.layers.size(), 6u);
    EXPECT_EQ(w.bytes, inventory_total(w.config).bytes);

    const WeightMatrix& wo_a = w.layers[4].attention.wo_a;
    EXPECT_EQ(wo_a.rows, 128u);
    EXPECT_EQ(wo_a.cols, 256u);
    EXPECT_EQ(wo_a.format, WeightFormat::kFp8);
    EXPECT_TRUE(same_bytes(wo_a.data, t.at("layers.4.attn.wo_a.weight")));
    EXPECT_TRUE(same_bytes(wo_a.scales, t.at("layers.4.attn.wo_a.scale")));

    const ExpertWeights& expert = w.layers[3].moe.routed_experts[5];
    EXPECT_TRUE(same_bytes(expert.w1.data, t.at("layers.3.ffn.experts.5.w1.weight")));
    EXPECT_TRUE(same_bytes(expert.w2.data, t.at("layers.3.ffn.experts.5.w2.weight")));
    EXPECT_TRUE(same_bytes(expert.w3.data, t.at("layers.3.ffn.experts.5.w3.weight")));
    EXPECT_TRUE(same_bytes(expert.w3.scales, t.at("layers.3.ffn.experts.5.w3.scale")));
    EXPECT_EQ(expert.w2.format, WeightFormat::kFp4);
    EXPECT_EQ(expert.w2.cols, 128u);  // logical, two to a byte
    EXPECT_EQ(expert.w2.bytes(), 256u * 64 + 256 * 4);

    EXPECT_TRUE(w.layers[0].moe.gate_bias.empty());
    EXPECT_TRUE(same_bytes(w.layers[0].moe.tid2eid.data(), t.at("layers.0.ffn.gate.tid2eid")));
    EXPECT_TRUE(w.layers[2].moe.tid2eid.empty());
    EXPECT_EQ(w.layers[2].moe.gate_bias.size(), 8u);
    EXPECT_TRUE(same_bytes(w.layers[2].moe.gate.data, t.at("layers.2.ffn.gate.weight")));

    EXPECT_FALSE(w.layers[1].attention.compressor);
    ASSERT_TRUE(w.layers[3].attention.compressor);
    EXPECT_FALSE(w.layers[3].attention.indexer);
    ASSERT_TRUE(w.layers[4].attention.indexer);
    const CompressorWeights& inner = w.layers[4].attention.indexer->compressor;
    EXPECT_TRUE(
        same_bytes(inner.wgate.data, t.at("layers.4.attn.indexer.compressor.wgate.weight")));
    EXPECT_TRUE(same_bytes(reinterpret_cast<const uint8_t*>(inner.ape.data()),
                           t.at("layers.4.attn.indexer.compressor.ape")));
    EXPECT_EQ(w.layers[3].attention.compressor->ape.size(), 128u * 128);

    // Norms are bf16 in the file, f32 here: the file's bits are the upper half.
    const auto& norm = t.at("layers.5.attn_norm.weight").bytes;
    uint16_t code = 0;
    std::memcpy(&code, norm.data() + 2 * 100, 2);
    EXPECT_EQ(std::bit_cast<uint32_t>(w.layers[5].attn_norm[100]), uint32_t{code} << 16);

    ASSERT_TRUE(w.mtp);
    EXPECT_TRUE(same_bytes(w.mtp->h_proj.data, t.at("mtp.0.h_proj.weight")));
    EXPECT_TRUE(same_bytes(w.mtp->hc_head.fn.data, t.at("mtp.0.hc_head_fn")));
    EXPECT_TRUE(same_bytes(w.head.data, t.at("head.weight")));
    EXPECT_EQ(w.hc_head.scale.size(), 1u);
    EXPECT_EQ(w.layers[0].hc_ffn.base.size(), 24u);
}

TEST(Weights, Fp8ExpertsWithAndWithoutSayingSo) {
    Json config = test::tiny_config();
    config["expert_dtype"] = "fp8";
    Loose loose = take_apart(config);
    auto loaded = load(loose);
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_EQ((*loaded)->layers[0].moe.routed_experts[0].w1.format, WeightFormat::kFp8);
    loose.config.erase("expert_dtype");
    loaded = load(loose);
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_EQ((*loaded)->config.expert_dtype, ExpertDType::kFp8);
    // Stated and wrong is an error.
    loose.config["expert_dtype"] = "fp4";
    loaded = load(loose);
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message.find(
                  "layers.0.ffn.experts.0.w1.weight is F8_E4M3 [128, 256], expected I8 [128, 128]"),
              std::string::npos)
        << loaded.error().message;
}

TEST(Weights, Fp4ExpertsWithoutSayingSo) {
    Loose loose = tiny();
    loose.config.erase("expert_dtype");
    const auto loaded = load(loose);
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_EQ((*loaded)->layers[0].moe.routed_experts[0].w1.format, WeightFormat::kFp4);
}

TEST(Weights, DSparkLoadsTheMainModel) {
    Loose loose = take_apart(test::tiny_dspark_config());
    EXPECT_TRUE(loose.tensors.contains("mtp.2.markov_head.markov_w2.weight"));
    const auto loaded = load(loose);
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_FALSE((*loaded)->mtp);
    EXPECT_EQ((*loaded)->layers.size(), 6u);
    // Its stages belong to the inventory all the same.
    loose.tensors.erase("mtp.0.main_proj.weight");
    EXPECT_FALSE(load(loose));
}

TEST(Weights, ExtraTensorsAreToleratedAndReported) {
    Loose loose = tiny();
    loose.tensors["mtp.0.emb.tok_emb.weight"] = loose.tensors["embed.weight"];
    loose.tensors["mtp.0.head.weight"] = {"F99", {3}, {1, 2, 3}};
    TempFolder folder;
    loose.write(folder.path());
    const auto loaded = Weights::load(folder.path());
    ASSERT_TRUE(loaded) << loaded.error().message;
    const auto checkpoint = Checkpoint::open(folder.path());
    ASSERT_TRUE(checkpoint);
    const CheckpointReport report = check_checkpoint(*checkpoint, (*loaded)->config);
    EXPECT_EQ(report.unused,
              (std::vector<std::string>{"mtp.0.emb.tok_emb.weight", "mtp.0.head.weight"}));
    EXPECT_TRUE(report.problems.empty());
}

TEST(Weights, AllMismatchesAreInOneError) {
    Loose loose = tiny();
    loose.tensors.erase("norm.weight");
    loose.tensors["head.weight"].shape = {256, 512};
    loose.tensors["layers.2.ffn.gate.bias"].dtype = "I32";
    auto loaded = load(loose);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
    const std::string& message = loaded.error().message;
    for (const char* part : {"3 problems", "norm.weight is missing, expected BF16 [256]",
                             "head.weight is BF16 [256, 512], expected BF16 [512, 256]",
                             "layers.2.ffn.gate.bias is I32 [8], expected F32 [8]"})
        EXPECT_NE(message.find(part), std::string::npos) << part << " in\n" << message;

    for (int e = 0; e < 8; ++e)
        for (const char* which : {"w1", "w2", "w3"})
            loose.tensors.erase(fmt::format("layers.1.ffn.experts.{}.{}.weight", e, which));
    loaded = load(loose);
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message.find("27 problems"), std::string::npos);
    EXPECT_NE(loaded.error().message.find("and 7 more"), std::string::npos);
}

// Replaces a ue8m0 scale tensor by the same scales as f32.
void widen_scales(Loose::Tensor& scale) {
    std::vector<uint8_t> wide(scale.bytes.size() * 4);
    for (size_t i = 0; i < scale.bytes.size(); ++i) {
        const float value = std::ldexp(1.0f, scale.bytes[i] - 127);
        std::memcpy(wide.data() + 4 * i, &value, 4);
    }
    scale = {"F32", scale.shape, std::move(wide)};
}

TEST(Weights, F32PowerOfTwoScalesAreConverted) {
    Loose loose = tiny();
    auto& expert_scale = loose.tensors["layers.1.ffn.experts.3.w2.scale"];
    expert_scale.bytes[0] = 0;    // 2^-127, an f32 subnormal
    expert_scale.bytes[1] = 254;  // 2^127
    const Loose::Tensor before = expert_scale;
    const Loose::Tensor dense_before = loose.tensors["layers.1.attn.wq_b.scale"];
    widen_scales(expert_scale);
    widen_scales(loose.tensors["layers.1.attn.wq_b.scale"]);
    const auto loaded = load(loose);
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_TRUE(same_bytes((*loaded)->layers[1].moe.routed_experts[3].w2.scales, before));
    EXPECT_TRUE(same_bytes((*loaded)->layers[1].attention.wq_b.scales, dense_before));
}

TEST(Weights, OtherF32ScalesAreRefusedByName) {
    for (const float bad : {3.0f, 0.0f, -2.0f, 1e-45f, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
        Loose loose = tiny();
        auto& scale = loose.tensors["layers.1.attn.wq_b.scale"];
        widen_scales(scale);
        std::memcpy(scale.bytes.data() + 4 * 2, &bad, 4);
        const auto loaded = load(loose);
        ASSERT_FALSE(loaded) << bad;
        EXPECT_NE(loaded.error().message.find("layers.1.attn.wq_b.scale: f32 scale 2 is"),
                  std::string::npos)
            << loaded.error().message;
    }
}

TEST(Weights, HashTableIdsMustBeDistinctAndInRange) {
    const auto with_row = [](int64_t first, int64_t second) {
        Loose loose = tiny();
        uint8_t* row = loose.tensors["layers.1.ffn.gate.tid2eid"].bytes.data() + 511 * 16;
        std::memcpy(row, &first, 8);
        std::memcpy(row + 8, &second, 8);
        return load(loose);
    };
    EXPECT_TRUE(with_row(0, 7));
    for (const auto& [first, second, message] :
         {std::tuple{8, 1, "token 511 has expert 8, expected 0 to 7"},
          std::tuple{1, -1, "token 511 has expert -1"}, std::tuple{5, 5, "has expert 5 twice"}}) {
        const auto loaded = with_row(first, second);
        ASSERT_FALSE(loaded) << message;
        EXPECT_NE(loaded.error().message.find(message), std::string::npos)
            << loaded.error().message;
    }
}

// Loose::write packs in name order, so that some header length leaves f32 and bf16 misaligned.
TEST(Weights, MisalignedTensorsAreCopied) {
    size_t num_copied = 0;
    for (const char* padding : {"", "x", "xx", "xxx"}) {
        Loose loose = tiny();
        loose.tensors[std::string("unused") + padding] = {"I8", {1}, {0}};
        const auto loaded = load(loose);
        ASSERT_TRUE(loaded) << loaded.error().message;
        const Weights& w = **loaded;
        EXPECT_EQ(reinterpret_cast<uintptr_t>(w.hc_head.fn.data) % 4, 0u);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(w.embed.data) % 2, 0u);
        EXPECT_TRUE(same_bytes(w.hc_head.fn.data, loose.tensors["hc_head_fn"]));
        EXPECT_TRUE(same_bytes(w.embed.data, loose.tensors["embed.weight"]));
        num_copied += w.owned.size();
    }
    EXPECT_GT(num_copied, 0u);
}

TEST(Weights, MissingFiles) {
    TempFolder folder;
    auto loaded = Weights::load(folder.path());
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message.find("config.json"), std::string::npos);
    ASSERT_TRUE(write_file_atomically(folder.path() + "/config.json", dump_json(tiny().config)));
    loaded = Weights::load(folder.path());
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kNotFound);
}

TEST(CheckValues, NaNsAreCountedByTensor) {
    Loose loose = tiny();
    loose.tensors["layers.1.attn.wkv.weight"].bytes[5] = 0x7F;
    loose.tensors["layers.1.attn.wkv.weight"].bytes[50] = 0xFF;
    loose.tensors["layers.1.attn.wkv.scale"].bytes[1] = 255;
    loose.tensors["embed.weight"].bytes[2 * 7] = 0x80;
    loose.tensors["embed.weight"].bytes[2 * 7 + 1] = 0xFF;  // bf16 -infinity
    loose.tensors["hc_head_base"].bytes[4 + 3] = 0x7F;
    loose.tensors["hc_head_base"].bytes[4 + 2] = 0xC0;  // f32 NaN
    TempFolder folder;
    loose.write(folder.path());
    const auto checkpoint = Checkpoint::open(folder.path());
    const auto config = Config::from_json(loose.config);
    ASSERT_TRUE(checkpoint && config);
    ThreadPool pool(2);
    uint64_t last_done = 0;
    const auto problems = check_values(*checkpoint, *config, pool,
                                       [&](uint64_t done, uint64_t) { last_done = done; });
    EXPECT_EQ(problems,
              (std::vector<std::string>{
                  "embed.weight has 1 BF16 values that are NaN or infinite",
                  "hc_head_base has 1 F32 values that are NaN or infinite",
                  "layers.1.attn.wkv.weight has 2 F8_E4M3 values that are NaN or infinite",
                  "layers.1.attn.wkv.scale has 1 F8_E8M0 values that are NaN or infinite"}));
    EXPECT_EQ(last_done, inventory_total(*config).bytes);
}

}  // namespace
}  // namespace baleen
