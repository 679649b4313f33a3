#include "model/synth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "model/config_fixture.h"
#include "model/synth_fill.h"
#include "model/weights.h"
#include "quant/quant.h"
#include "tensor/safetensors.h"

namespace baleen {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;

SynthSummary write_or_fail(const Json& config, const SynthOptions& options,
                           size_t num_threads = 2) {
    ThreadPool pool(num_threads);
    const auto summary = write_synthetic_checkpoint(config, options, pool);
    EXPECT_TRUE(summary) << summary.error().message;
    return summary ? *summary : SynthSummary{};
}

std::map<std::string, std::string> files_of(const std::string& directory) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(directory))
        files[entry.path().filename()] = read_file(entry.path(), size_t{1} << 30).value();
    return files;
}

TEST(Synth, SameBytesForAnyThreadCountAndOtherBytesForAnotherSeed) {
    TempFolder a, b, c;
    const Json config = test::tiny_config();
    write_or_fail(config, {.directory = a.path()}, 1);
    write_or_fail(config, {.directory = b.path()}, 3);
    EXPECT_EQ(files_of(a.path()), files_of(b.path()));
    write_or_fail(config, {.directory = c.path(), .seed = 2});
    const auto files_a = files_of(a.path());
    const auto files_c = files_of(c.path());
    const char* shard = "model-00001-of-00001.safetensors";
    ASSERT_TRUE(files_a.contains(shard));
    EXPECT_NE(files_a.at(shard), files_c.at(shard));
    EXPECT_EQ(files_a.at(shard).size(), files_c.at(shard).size());
}

TEST(Synth, ATensorDoesNotDependOnTheShardItIsIn) {
    TempFolder whole, split;
    const Json config = test::tiny_config();
    EXPECT_EQ(write_or_fail(config, {.directory = whole.path()}).num_shards, 1u);
    const SynthSummary summary =
        write_or_fail(config, {.directory = split.path(), .shard_bytes_max = 1'000'000});
    EXPECT_GT(summary.num_shards, 5u);
    const auto one = Checkpoint::open(whole.path());
    const auto many = Checkpoint::open(split.path());
    ASSERT_TRUE(one && many);
    EXPECT_TRUE((*many).problems().empty());
    EXPECT_EQ((*many).tensors().size(), summary.num_tensors);
    for (const StoredTensor& tensor : (*one).tensors()) {
        const StoredTensor* other = (*many).find(tensor.name);
        ASSERT_NE(other, nullptr) << tensor.name;
        EXPECT_TRUE(std::ranges::equal(tensor.data, other->data)) << tensor.name;
        // Aligned to its element, so that nothing is copied at load.
        EXPECT_EQ(reinterpret_cast<uintptr_t>(other->data.data()) % dtype_bytes(*other->dtype), 0u);
    }
}

TEST(Synth, AnyRangeOfATensorIsTheSame) {
    const auto config = Config::from_json(test::tiny_config());
    ASSERT_TRUE(config);
    const TensorFiller filler(*config);
    std::set<TensorRole> roles;
    visit_inventory(*config, [&](const TensorSpec& spec) {
        if (!roles.insert(spec.role).second) return;
        std::vector<uint8_t> whole(spec.bytes());
        filler.fill(spec, 7, 0, whole);
        for (uint64_t offset = 0; offset < spec.bytes(); offset += 48) {
            std::vector<uint8_t> part(std::min<uint64_t>(50, spec.bytes() - offset));
            filler.fill(spec, 7, offset, part);
            ASSERT_TRUE(std::equal(part.begin(), part.end(),
                                   whole.begin() + static_cast<std::ptrdiff_t>(offset)))
                << spec.name << " at " << offset;
        }
    });
    EXPECT_EQ(roles.size(), 11u);
}

// The root mean square of a quantised matrix, decoded by the formulas of spec 2.4.
double rms_of(const WeightMatrix& w) {
    double sum = 0;
    for (size_t r = 0; r < w.rows; ++r)
        for (size_t c = 0; c < w.cols; ++c) {
            double value = 0;
            if (w.format == WeightFormat::kFp8)
                value = f32_from_e4m3(w.row(r)[c]) * f32_from_ue8m0(w.scale_row(r)[c / 128]);
            else
                value = kE2m1Values[e2m1_unpack({w.row(r), w.row_bytes()}, c)] *
                        f32_from_ue8m0(w.scale_row(r)[c / 32]);
            sum += value * value;
        }
    return std::sqrt(sum / static_cast<double>(w.rows * w.cols));
}

void expect_unit_gain(const WeightMatrix& w, const char* name) {
    const double gain = rms_of(w) * std::sqrt(static_cast<double>(w.cols));
    EXPECT_GT(gain, 0.5) << name;
    EXPECT_LT(gain, 2.0) << name;
}

TEST(Synth, LinearsKeepTheSizeOfTheirInputs) {
    TempFolder folder;
    write_or_fail(test::tiny_config(), {.directory = folder.path()});
    const auto loaded = Weights::load(folder.path());
    ASSERT_TRUE(loaded) << loaded.error().message;
    const Weights& w = **loaded;
    expect_unit_gain(w.layers[2].attention.wq_a, "wq_a");
    expect_unit_gain(w.layers[2].attention.wo_a, "wo_a");
    expect_unit_gain(w.layers[2].attention.indexer->wq_b, "indexer.wq_b");
    expect_unit_gain(w.layers[5].moe.routed_experts[7].w2, "w2");
    expect_unit_gain(w.layers[5].moe.shared_expert.w1, "shared w1");
    expect_unit_gain(w.mtp->e_proj, "e_proj");
    EXPECT_EQ(w.layers[5].moe.routed_experts[7].w2.format, WeightFormat::kFp4);
    for (const float x : w.norm) EXPECT_NEAR(x, 1.0f, 0.5f);
}

TEST(Synth, RefusesAFolderWithFilesUnlessForced) {
    TempFolder folder;
    const Json config = test::tiny_config();
    write_or_fail(config, {.directory = folder.path(), .shard_bytes_max = 4'000'000});
    ThreadPool pool(1);
    const auto again = write_synthetic_checkpoint(config, {.directory = folder.path()}, pool);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(again.error().message.find("not empty"), std::string::npos);
    // Forced: shards of the earlier split do not stay behind.
    write_or_fail(config, {.directory = folder.path(), .overwrite = Overwrite::kReplace});
    size_t num_shards = 0;
    for (const auto& [name, unused] : files_of(folder.path()))
        num_shards += name.ends_with(".safetensors");
    EXPECT_EQ(num_shards, 1u);
    EXPECT_TRUE(Weights::load(folder.path()));
}

TEST(Synth, RefusesMoreThanTheDiskHolds) {
    TempFolder folder;
    Json config = test::official_config("config-v4-pro.json");
    config["num_hidden_layers"] = 1000;
    config["compress_ratios"] = std::vector<int>(1000, 0);
    ThreadPool pool(1);
    const auto written = write_synthetic_checkpoint(config, {.directory = folder.path()}, pool);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kExhausted);
    EXPECT_TRUE(fs::is_empty(folder.path()));
}

// A folder in the place of tokenizer.json: the write fails after the shards are done.
TEST(Synth, AFailedWriteLeavesNoFiles) {
    TempFolder folder;
    const fs::path in_the_way = fs::path(folder.path()) / "tokenizer.json";
    fs::create_directory(in_the_way);
    std::ofstream(in_the_way / "x") << "x";
    ThreadPool pool(1);
    const auto written = write_synthetic_checkpoint(
        test::tiny_config(),
        {.directory = folder.path(), .overwrite = Overwrite::kReplace, .tokenizer = Json::object()},
        pool);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kIo);
    for (const auto& entry : fs::directory_iterator(folder.path()))
        EXPECT_EQ(entry.path(), in_the_way);
}

TEST(Synth, BadConfigIsRefusedBeforeAnythingIsWritten) {
    TempFolder folder;
    Json config = test::tiny_config();
    config["hidden_size"] = 7;
    ThreadPool pool(1);
    EXPECT_FALSE(write_synthetic_checkpoint(config, {.directory = folder.path()}, pool));
    EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(SynthPresets, FlashSliceIsTheStartOfFlash) {
    const Json flash = preset_config(SynthPreset::kFlash);
    const Json official = test::official_config("config-v4-flash.json");
    for (const auto& [key, value] : flash.items()) EXPECT_EQ(value, official[key]) << key;
    const auto slice = with_overrides(flash, {.num_layers = 6, .num_experts = 64});
    ASSERT_TRUE(slice);
    const auto config = Config::from_json(*slice);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->compress_ratios, (std::vector<int64_t>{0, 0, 4, 128, 4, 128, 0}));
    EXPECT_EQ(config->n_routed_experts, 64);
    EXPECT_EQ(config->num_hash_layers, 3);
}

TEST(SynthPresets, OverridesKeepConfigsConsistent) {
    Json json = test::tiny_dspark_config();
    const auto cut = with_overrides(json, {.num_layers = 1, .num_experts = 4});
    ASSERT_TRUE(cut);
    const auto config = Config::from_json(*cut);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->num_mtp_stages(), 3);
    EXPECT_EQ(config->num_hash_layers, 1);
    EXPECT_EQ(config->dspark->target_layer_ids, std::vector<int64_t>{0});
    const auto more = with_overrides(json, {.num_layers = 7, .num_experts = std::nullopt});
    ASSERT_FALSE(more);
    EXPECT_NE(more.error().message.find("layers is 7, expected 1 to 6"), std::string::npos);
}

TEST(SynthPresets, TheTokenizerNamesEveryId) {
    const SortedJson tokenizer = parse_sorted_json(dump_json(byte_tokenizer(512))).value();
    std::map<int64_t, std::string> texts;
    for (const auto& [text, id] : tokenizer["model"]["vocab"].items()) texts[id] = text;
    EXPECT_EQ(texts.size(), 259u);
    for (const SortedJson& token : tokenizer["added_tokens"]) texts[token["id"]] = token["content"];
    ASSERT_EQ(texts.size(), 512u);
    EXPECT_EQ(texts.rbegin()->first, 511);
    EXPECT_EQ(texts[0], "<｜begin▁of▁sentence｜>");
    EXPECT_EQ(texts[1], "<｜end▁of▁sentence｜>");
    EXPECT_EQ(texts[2], "<｜▁pad▁｜>");
    EXPECT_EQ(texts[3], "!");
    EXPECT_EQ(texts[258], "Ń");
    std::set<std::string> distinct;
    for (const auto& [id, text] : texts) distinct.insert(text);
    EXPECT_EQ(distinct.size(), 512u);
    for (const char* control : {"<think>", "</think>", "<｜User｜>", "<｜Assistant｜>", "｜DSML｜"})
        EXPECT_TRUE(distinct.contains(control)) << control;
    // Text is cut as the official tokenizer cuts it, and the bytes have the same ids.
    const auto official = parse_sorted_json(test::shared_text("data/deepseek-v4-tokenizer.json"));
    ASSERT_TRUE(official) << official.error().message;
    for (const char* section : {"pre_tokenizer", "decoder", "normalizer", "post_processor"})
        EXPECT_EQ(tokenizer[section], (*official)[section]) << section;
    for (const auto& [text, id] : (*official)["model"]["vocab"].items()) {
        if (id > 258) continue;
        EXPECT_EQ(texts[id], text);
    }
}

}  // namespace
}  // namespace baleen
