#include "model/synth_presets.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/check.h"
#include "model/presets.h"

namespace baleen {
namespace {

// The sections of the official tokenizer.json that decide how text is cut (shared by all releases).
constexpr std::string_view kTokenizerSectionsJson = R"json({
 "normalizer": {"type": "Sequence", "normalizers": []},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
  {"type": "Split", 
   "pattern": {"Regex": "\\p{N}{1,3}"},
   "behavior": "Isolated", "invert": false},
  {"type": "Split", 
   "pattern": {"Regex": "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"},
   "behavior": "Isolated", "invert": false},
  {"type": "Split", 
   "pattern": {"Regex": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"},
   "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
 "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
 "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}
})json";

// The official control tokens of ids 128800-128846, placeholders left out, in id order.
constexpr auto kControlTokens = std::to_array<std::string_view>({
    "<｜fim▁hole｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁end｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<|EOT|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁outputs▁begin｜>",
    "<｜tool▁outputs▁end｜>",
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
    "<｜tool▁sep｜>",
    "<｜begin▁of▁repo▁name｜>",
    "<｜end▁of▁repo▁name｜>",
    "<｜begin▁of▁file▁name｜>",
    "<｜end▁of▁file▁name｜>",
    "<｜begin▁of▁file｜>",
    "<｜end▁of▁file｜>",
    "<think>",
    "</think>",
    "｜DSML｜",
    "<｜begin▁sys｜>",
    "<｜end▁sys｜>",
    "<｜latest_reminder｜>",
    "<｜action｜>",
    "<｜query｜>",
    "<｜authority｜>",
    "<｜domain｜>",
    "<｜task｜>",
    "<｜political｜>",
    "<｜entity｜>",
    "<｜title｜>",
    "<｜safety｜>",
    "<｜answer｜>",
    "<｜search｜>",
    "<dsml:",
    "</dsml:",
    "<｜search▁begin｜>",
    "<｜search▁end｜>",
    "<｜extracted_url｜>",
    "<｜read_url｜>",
    "<｜end_of_query｜>",
});
constexpr std::string_view kSpecialControlToken = "<｜end_of_query｜>";  // the only "special" one

constexpr int64_t kFirstByteId = 3;
constexpr int64_t kFirstControlId = kFirstByteId + 256;

Json parse_constant(std::string_view text) {
    return parse_json(text).value();
}

std::string utf8(uint32_t code_point) {
    CHECK_LT(code_point, 0x800u);
    if (code_point < 0x80) return {static_cast<char>(code_point)};
    return {static_cast<char>(0xC0 | (code_point >> 6)),
            static_cast<char>(0x80 | (code_point & 63))};
}

// The 256 symbols of byte-level BPE: printable Latin-1 bytes stand for themselves, the others are
// shifted to U+0100 and on. In code point order, which is the official id order.
std::array<std::string, 256> byte_symbols() {
    std::array<std::string, 256> symbols;
    size_t next = 0;
    const auto printable = [](uint32_t b) {
        return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
    };
    for (uint32_t b = 0; b < 256; ++b)
        if (printable(b)) symbols[next++] = utf8(b);
    for (uint32_t code_point = 0x100; next < 256; ++code_point) symbols[next++] = utf8(code_point);
    return symbols;
}

Json added_token(int64_t id, std::string_view content, bool special) {
    return {{"id", id},        {"content", content},     {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", !special}, {"special", special}};
}

}  // namespace

Json preset_config(SynthPreset preset) {
    Config config = flash_config();
    if (preset == SynthPreset::kFlash) return config.to_json();
    // Every layer kind, as little of it as the formats allow.
    config.vocab_size = 512;
    config.hidden_size = 256;
    config.num_hidden_layers = 6;
    config.num_hash_layers = 2;
    config.num_attention_heads = 4;
    config.head_dim = 128;
    config.q_lora_rank = 128;
    config.o_groups = 2;
    config.o_lora_rank = 64;
    config.compress_ratios = {0, 0, 4, 128, 4, 128, 0};
    config.index_n_heads = 4;
    config.index_head_dim = 64;
    config.index_topk = 16;
    config.n_routed_experts = 8;
    config.num_experts_per_tok = 2;
    config.moe_intermediate_size = 128;
    return config.to_json();
}

Result<Json> with_overrides(Json config, const ConfigOverrides& overrides) {
    if (overrides.num_experts) config["n_routed_experts"] = *overrides.num_experts;
    if (!overrides.num_layers) return config;
    const int64_t layers = TRY(json_int(config, "num_hidden_layers", {1, 1 << 20}));
    const int64_t kept = *overrides.num_layers;
    if (kept < 1 || kept > layers)
        return make_error(ErrorCode::kInvalidArgument, "layers is {}, expected 1 to {}", kept,
                          layers);
    config["num_hidden_layers"] = kept;
    if (json_has(config, "num_hash_layers") && config["num_hash_layers"] > kept)
        config["num_hash_layers"] = kept;
    if (json_has(config, "compress_ratios") && config["compress_ratios"].is_array()) {
        const Json& old = config["compress_ratios"];
        Json ratios = Json::array();
        for (size_t i = 0; i < old.size(); ++i)
            if (i < static_cast<size_t>(kept) || i >= static_cast<size_t>(layers))
                ratios.push_back(old[i]);
        config["compress_ratios"] = std::move(ratios);
    }
    // DSpark reads the outputs of the last layers; as many of them as are left.
    if (json_has(config, "dspark_target_layer_ids") &&
        config["dspark_target_layer_ids"].is_array()) {
        const auto num_targets = static_cast<int64_t>(config["dspark_target_layer_ids"].size());
        Json targets = Json::array();
        for (int64_t i = std::max<int64_t>(0, kept - num_targets); i < kept; ++i)
            targets.push_back(i);
        config["dspark_target_layer_ids"] = std::move(targets);
    }
    return config;
}

Json byte_tokenizer(int64_t vocab_size) {
    CHECK_GE(vocab_size, kFirstControlId + static_cast<int64_t>(kControlTokens.size()));
    Json added = Json::array();
    Json vocab = Json::object();
    int64_t id = 0;
    for (const char* text : {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"}) {
        vocab[text] = id;
        added.push_back(added_token(id++, text, true));
    }
    for (const std::string& symbol : byte_symbols()) vocab[symbol] = id++;
    for (const std::string_view text : kControlTokens)
        added.push_back(added_token(id++, text, text == kSpecialControlToken));
    for (int64_t i = 0; id < vocab_size; ++i)
        added.push_back(added_token(id++, fmt::format("<｜place▁holder▁no▁{}｜>", i), true));

    Json json = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
    json["added_tokens"] = std::move(added);
    json.update(parse_constant(kTokenizerSectionsJson));
    json["model"] = {{"type", "BPE"},
                     {"dropout", nullptr},
                     {"unk_token", nullptr},
                     {"continuing_subword_prefix", nullptr},
                     {"end_of_word_suffix", nullptr},
                     {"fuse_unk", false},
                     {"byte_fallback", false},
                     {"vocab", std::move(vocab)},
                     {"merges", Json::array()}};
    return json;
}

}  // namespace baleen
