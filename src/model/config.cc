#include "model/config.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>

#include "base/file.h"

namespace baleen {
namespace {

// Limits. Generous against every release, small enough that no product of two of them (element
// counts, bytes of a checkpoint) leaves 63 bits.
constexpr int64_t kVocabMax = 1 << 21;
constexpr int64_t kWidthMax = 1 << 15;  // columns of any matrix (kernels/linear.h)
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kHeadsMax = 1024;
constexpr int64_t kHeadDimMax = 4096;
constexpr int64_t kExpertsMax = 1024;  // jobs of one expert pass (kernels/linear.h)
constexpr int64_t kExpertsPerTokenMax = 64;
constexpr int64_t kMtpStagesMax = 8;
constexpr int64_t kPositionsMax = int64_t{1} << 30;
constexpr int64_t kHcaRatioMax = 128;  // spec 1.2; prefix reuse works in units of 128 tokens

bool is_multiple(int64_t value, int64_t of) {
    return value % of == 0;
}

// Reads keys of one object and keeps every complaint, so that a person sees all of them at once.
class ConfigReader {
  public:
    explicit ConfigReader(const Json& json) : json_(json) {}

    bool has(std::string_view key) const { return json_has(json_, key); }
    const Json& at(std::string_view key) const { return json_[std::string(key)]; }

    // The value, or range.min with a complaint kept.
    int64_t integer(std::string_view key, IntRange range) {
        return kept(json_int(json_, key, range), range.min);
    }
    int64_t integer_or(std::string_view key, IntRange range, int64_t absent) {
        return has(key) ? integer(key, range) : absent;
    }

    // A number in (above, max].
    double number(std::string_view key, double above, double max) {
        const double value = kept(json_number(json_, key), max);
        require(value > above && value <= max, "{} is {}, expected more than {} and at most {}",
                key, value, above, max);
        return value;
    }

    // When present, the key must hold exactly this text, flag or number.
    template <typename T>
    void fixed(std::string_view key, const T& value) {
        if (!has(key)) return;
        const Json expected = value;
        require(at(key) == expected, "{} is {}, only {} is supported", key, shown(at(key)),
                dump_json(expected));
    }

    // An array of integers in range, one complaint for its first bad element.
    std::vector<int64_t> integers(std::string_view key, IntRange range, size_t count_max) {
        std::vector<int64_t> values;
        if (!has(key) || !at(key).is_array() || at(key).size() > count_max) {
            require(false, "{} is {}, expected a list of at most {} integers", key,
                    has(key) ? shown(at(key)) : "missing", count_max);
            return values;
        }
        for (const Json& element : at(key)) {
            const Json wrapped = {{"value", element}};
            auto value = json_int(wrapped, "value", range);
            if (!value) {
                require(false, "{}[{}] is {}, expected an integer {} to {}", key, values.size(),
                        shown(element), range.min, range.max);
                return {};
            }
            values.push_back(*value);
        }
        return values;
    }

    template <typename... Args>
    void require(bool holds, fmt::format_string<Args...> format, Args&&... args) {
        if (!holds) problems_.push_back(fmt::format(format, std::forward<Args>(args)...));
    }
    void adopt(std::string_view section, const ConfigReader& inner) {
        for (const std::string& p : inner.problems_)
            problems_.push_back(fmt::format("{}.{}", section, p));
    }

    bool clean() const { return problems_.empty(); }
    Error error() const {
        std::string all;
        for (const std::string& p : problems_) all.append(all.empty() ? "" : "; ").append(p);
        return {ErrorCode::kInvalidArgument, std::move(all)};
    }

    static std::string shown(const Json& value) {
        std::string text = dump_json(value);
        if (text.size() > 60) text = text.substr(0, 57) + "...";
        return text;
    }

  private:
    template <typename T>
    T kept(Result<T> result, T fallback) {
        if (result) return *result;
        problems_.push_back(result.error().message);
        return fallback;
    }

    const Json& json_;
    std::vector<std::string> problems_;
};

void read_backbone(ConfigReader& in, Config& c) {
    c.vocab_size = in.integer("vocab_size", {1, kVocabMax});
    c.hidden_size = in.integer("hidden_size", {32, kWidthMax});
    c.num_hidden_layers = in.integer("num_hidden_layers", {1, kLayersMax});
    c.num_hash_layers = in.integer("num_hash_layers", {0, kLayersMax});
    c.hc_mult = in.integer("hc_mult", {1, 16});
    c.hc_sinkhorn_iters = in.integer("hc_sinkhorn_iters", {1, 1000});
    c.hc_eps = in.number("hc_eps", 0, 1);
    c.rms_norm_eps = in.number("rms_norm_eps", 0, 1);
    c.max_position_embeddings = in.integer("max_position_embeddings", {1, kPositionsMax});
    c.bos_token_id = in.integer_or("bos_token_id", {0, kVocabMax}, 0);
    c.eos_token_id = in.integer_or("eos_token_id", {0, kVocabMax}, 1);

    in.require(is_multiple(c.hidden_size, 32),
               "hidden_size is {}, expected a multiple of 32 (FP4 blocks)", c.hidden_size);
    in.require(c.num_hash_layers <= c.num_hidden_layers,
               "num_hash_layers is {}, expected at most num_hidden_layers = {}", c.num_hash_layers,
               c.num_hidden_layers);
    in.require(c.bos_token_id < c.vocab_size, "bos_token_id is {}, expected below vocab_size = {}",
               c.bos_token_id, c.vocab_size);
    in.require(c.eos_token_id < c.vocab_size, "eos_token_id is {}, expected below vocab_size = {}",
               c.eos_token_id, c.vocab_size);
}

void read_attention(ConfigReader& in, Config& c) {
    c.num_attention_heads = in.integer("num_attention_heads", {1, kHeadsMax});
    c.head_dim = in.integer("head_dim", {66, kHeadDimMax});
    c.qk_rope_head_dim = in.integer("qk_rope_head_dim", {2, kHeadDimMax});
    c.q_lora_rank = in.integer("q_lora_rank", {1, kWidthMax});
    c.o_groups = in.integer("o_groups", {1, kHeadsMax});
    c.o_lora_rank = in.integer("o_lora_rank", {1, kWidthMax});
    c.sliding_window = in.integer("sliding_window", {1, kWidthMax});
    in.fixed("num_key_value_heads", 1);

    in.require(c.head_dim > c.qk_rope_head_dim,
               "qk_rope_head_dim is {}, expected less than head_dim = {}", c.qk_rope_head_dim,
               c.head_dim);
    in.require(is_multiple(c.qk_rope_head_dim, 2),
               "qk_rope_head_dim is {}, expected an even number", c.qk_rope_head_dim);
    in.require(is_multiple(c.nope_head_dim(), 64),
               "head_dim - qk_rope_head_dim is {}, expected a multiple of 64 (FP8 KV blocks)",
               c.nope_head_dim());
    in.require(is_multiple(c.num_attention_heads, c.o_groups),
               "num_attention_heads is {}, expected a multiple of o_groups = {}",
               c.num_attention_heads, c.o_groups);
    const int64_t group_cols =
        c.num_attention_heads * c.head_dim / std::max<int64_t>(c.o_groups, 1);
    in.require(group_cols <= kWidthMax,
               "num_attention_heads * head_dim / o_groups is {}, expected at most {}", group_cols,
               kWidthMax);
    in.require(c.o_groups * c.o_lora_rank <= kWidthMax,
               "o_groups * o_lora_rank is {}, expected at most {}", c.o_groups * c.o_lora_rank,
               kWidthMax);
}

// Spec 1.2. Everything that depends on the layer schedule: ratios, indexer, rope bases.
void read_schedule(ConfigReader& in, Config& c) {
    c.compress_ratios = in.integers("compress_ratios", {0, kHcaRatioMax},
                                    static_cast<size_t>(kLayersMax + kMtpStagesMax));
    const auto num_layers = static_cast<size_t>(c.num_hidden_layers);
    bool any_csa = false;
    bool any_compressed = false;
    for (size_t i = 0; i < c.compress_ratios.size(); ++i) {
        const int64_t ratio = c.compress_ratios[i];
        const bool divides = ratio == 0 || (ratio >= 2 && is_multiple(kHcaRatioMax, ratio));
        in.require(divides, "compress_ratios[{}] is {}, expected 0, 4 or a divisor of 128 from 2",
                   i, ratio);
        in.require(i < num_layers || ratio == 0,
                   "compress_ratios[{}] is {}, expected 0 for the MTP stages after layer {}", i,
                   ratio, num_layers - 1);
        any_csa |= ratio == 4;
        any_compressed |= ratio != 0;
    }
    in.require(c.compress_ratios.size() >= num_layers,
               "compress_ratios has {} entries, expected at least num_hidden_layers = {}",
               c.compress_ratios.size(), num_layers);

    c.rope_theta = in.number("rope_theta", 1, 1e12);
    if (any_compressed || in.has("compress_rope_theta"))
        c.compress_rope_theta = in.number("compress_rope_theta", 1, 1e12);
    const int64_t index_min = any_csa ? 1 : 0;
    if (any_csa || in.has("index_n_heads"))
        c.index_n_heads = in.integer("index_n_heads", {index_min, kHeadsMax});
    if (any_csa || in.has("index_head_dim"))
        c.index_head_dim = in.integer("index_head_dim", {index_min * 32, kHeadDimMax});
    if (any_csa || in.has("index_topk"))
        c.index_topk = in.integer("index_topk", {index_min, kWidthMax});
    if (!any_csa) return;
    in.require(std::has_single_bit(static_cast<uint64_t>(c.index_head_dim)),
               "index_head_dim is {}, expected a power of two, 32 or more (Hadamard, FP4 blocks)",
               c.index_head_dim);
    in.require(c.index_head_dim >= c.qk_rope_head_dim,
               "index_head_dim is {}, expected at least qk_rope_head_dim = {}", c.index_head_dim,
               c.qk_rope_head_dim);
}

void read_yarn(ConfigReader& in, Config& c) {
    if (!in.has("rope_scaling")) return;
    if (!in.at("rope_scaling").is_object()) {
        in.require(false, "rope_scaling is {}, expected an object or null",
                   ConfigReader::shown(in.at("rope_scaling")));
        return;
    }
    ConfigReader yarn_in(in.at("rope_scaling"));
    // Newer exporters write rope_type for type.
    const char* type_key = yarn_in.has("type") ? "type" : "rope_type";
    yarn_in.require(yarn_in.has(type_key), "type is missing, only \"yarn\" is supported");
    yarn_in.fixed(type_key, "yarn");
    Yarn yarn;
    yarn.factor = yarn_in.number("factor", 0, 1e6);
    yarn_in.require(yarn.factor >= 1, "factor is {}, expected at least 1", yarn.factor);
    yarn.original_max_position_embeddings =
        yarn_in.integer("original_max_position_embeddings", {1, kPositionsMax});
    yarn.beta_fast = yarn_in.number("beta_fast", 0, 1e6);
    yarn.beta_slow = yarn_in.number("beta_slow", 0, 1e6);
    yarn_in.require(yarn.beta_fast >= yarn.beta_slow,
                    "beta_fast is {}, expected at least beta_slow = {}", yarn.beta_fast,
                    yarn.beta_slow);
    in.adopt("rope_scaling", yarn_in);
    c.rope_scaling = yarn;
}

void read_moe(ConfigReader& in, Config& c) {
    c.n_routed_experts = in.integer("n_routed_experts", {1, kExpertsMax});
    c.num_experts_per_tok = in.integer("num_experts_per_tok", {1, kExpertsPerTokenMax});
    c.moe_intermediate_size = in.integer("moe_intermediate_size", {32, kWidthMax});
    c.routed_scaling_factor = in.number("routed_scaling_factor", 0, 1e6);
    c.swiglu_limit = in.number("swiglu_limit", 0, 1e6);
    in.fixed("n_shared_experts", 1);
    in.fixed("scoring_func", "sqrtsoftplus");
    in.fixed("topk_method", "noaux_tc");
    in.fixed("norm_topk_prob", true);
    in.fixed("hidden_act", "silu");
    in.require(c.num_experts_per_tok <= c.n_routed_experts,
               "num_experts_per_tok is {}, expected at most n_routed_experts = {}",
               c.num_experts_per_tok, c.n_routed_experts);
    in.require(is_multiple(c.moe_intermediate_size, 32),
               "moe_intermediate_size is {}, expected a multiple of 32 (FP4 blocks)",
               c.moe_intermediate_size);
    c.expert_dtype_stated = in.has("expert_dtype");
    if (!c.expert_dtype_stated) return;
    const Json& stated = in.at("expert_dtype");
    in.require(stated == "fp4" || stated == "fp8",
               "expert_dtype is {}, expected \"fp4\" or \"fp8\"", ConfigReader::shown(stated));
    c.expert_dtype = stated == "fp8" ? ExpertDType::kFp8 : ExpertDType::kFp4;
}

// Stages after the main layers: at most one classic block, or the DSpark stages (spec 13.1).
void read_mtp(ConfigReader& in, Config& c) {
    const int64_t num_stages = c.num_mtp_stages();
    const bool any_key = in.has("dspark_block_size") || in.has("dspark_noise_token_id") ||
                         in.has("dspark_target_layer_ids") || in.has("dspark_markov_rank");
    if (!any_key) {
        in.require(num_stages <= 1,
                   "compress_ratios has {} entries after the main layers, expected 0 or 1 "
                   "(more need the dspark_* keys)",
                   num_stages);
        return;
    }
    in.require(num_stages >= 1 && num_stages <= kMtpStagesMax,
               "compress_ratios has {} entries after the main layers, expected 1 to {} with DSpark",
               num_stages, kMtpStagesMax);
    DSpark d;
    d.block_size = in.integer("dspark_block_size", {1, 64});
    d.noise_token_id = in.integer("dspark_noise_token_id", {0, c.vocab_size - 1});
    d.target_layer_ids = in.integers("dspark_target_layer_ids", {0, c.num_hidden_layers - 1}, 16);
    d.markov_rank = in.integer("dspark_markov_rank", {1, kWidthMax});
    in.require(!d.target_layer_ids.empty(),
               "dspark_target_layer_ids is empty, expected 1 to 16 ids");
    for (size_t i = 1; i < d.target_layer_ids.size(); ++i)
        in.require(d.target_layer_ids[i - 1] < d.target_layer_ids[i],
                   "dspark_target_layer_ids[{}] is {}, expected ids in ascending order", i,
                   d.target_layer_ids[i]);
    c.dspark = std::move(d);
}

// Keys that other checkpoints use to say "I am not this architecture or format".
void check_family(ConfigReader& in) {
    in.require(!in.has("text_config"),
               "text_config is present: V4.1 and other nested configs are not supported");
    in.fixed("model_type", "deepseek_v4");
    in.fixed("architectures", std::vector<std::string>{"DeepseekV4ForCausalLM"});
    in.fixed("tie_word_embeddings", false);
    in.fixed("attention_bias", false);
    if (!in.has("quantization_config") || !in.at("quantization_config").is_object()) return;
    ConfigReader quant_in(in.at("quantization_config"));
    quant_in.fixed("quant_method", "fp8");
    quant_in.fixed("fmt", "e4m3");
    quant_in.fixed("scale_fmt", "ue8m0");
    quant_in.fixed("weight_block_size", std::vector<int>{128, 128});
    in.adopt("quantization_config", quant_in);
}

}  // namespace

Result<Config> Config::from_json(const Json& json) {
    if (!json.is_object())
        return make_error(ErrorCode::kInvalidArgument, "the config is {}, expected a JSON object",
                          json.type_name());
    ConfigReader in(json);
    Config config;
    check_family(in);
    read_backbone(in, config);
    read_attention(in, config);
    read_schedule(in, config);
    read_yarn(in, config);
    read_moe(in, config);
    read_mtp(in, config);
    if (!in.clean()) return in.error();
    return config;
}

Json Config::to_json() const {
    Json json = {{"architectures", {"DeepseekV4ForCausalLM"}},
                 {"model_type", "deepseek_v4"},
                 {"torch_dtype", "bfloat16"},
                 {"attention_bias", false},
                 {"tie_word_embeddings", false},
                 {"hidden_act", "silu"},
                 {"num_key_value_heads", 1},
                 {"n_shared_experts", 1},
                 {"norm_topk_prob", true},
                 {"scoring_func", "sqrtsoftplus"},
                 {"topk_method", "noaux_tc"},
                 {"quantization_config",
                  {{"activation_scheme", "dynamic"},
                   {"fmt", "e4m3"},
                   {"quant_method", "fp8"},
                   {"scale_fmt", "ue8m0"},
                   {"weight_block_size", {128, 128}}}},
                 {"vocab_size", vocab_size},
                 {"hidden_size", hidden_size},
                 {"num_hidden_layers", num_hidden_layers},
                 {"num_hash_layers", num_hash_layers},
                 {"num_attention_heads", num_attention_heads},
                 {"head_dim", head_dim},
                 {"qk_rope_head_dim", qk_rope_head_dim},
                 {"q_lora_rank", q_lora_rank},
                 {"o_groups", o_groups},
                 {"o_lora_rank", o_lora_rank},
                 {"sliding_window", sliding_window},
                 {"compress_ratios", compress_ratios},
                 {"rope_theta", rope_theta},
                 {"max_position_embeddings", max_position_embeddings},
                 {"index_n_heads", index_n_heads},
                 {"index_head_dim", index_head_dim},
                 {"index_topk", index_topk},
                 {"n_routed_experts", n_routed_experts},
                 {"num_experts_per_tok", num_experts_per_tok},
                 {"moe_intermediate_size", moe_intermediate_size},
                 {"routed_scaling_factor", routed_scaling_factor},
                 {"swiglu_limit", swiglu_limit},
                 {"hc_mult", hc_mult},
                 {"hc_sinkhorn_iters", hc_sinkhorn_iters},
                 {"hc_eps", hc_eps},
                 {"rms_norm_eps", rms_norm_eps},
                 // What the official files say even where DSpark has more stages (spec 13.1).
                 {"num_nextn_predict_layers", num_mtp_stages() > 0 ? 1 : 0},
                 {"expert_dtype", expert_dtype == ExpertDType::kFp4 ? "fp4" : "fp8"},
                 {"bos_token_id", bos_token_id},
                 {"eos_token_id", eos_token_id}};
    if (compress_rope_theta != 0) json["compress_rope_theta"] = compress_rope_theta;
    if (rope_scaling)
        json["rope_scaling"] = {
            {"beta_fast", rope_scaling->beta_fast},
            {"beta_slow", rope_scaling->beta_slow},
            {"factor", rope_scaling->factor},
            {"original_max_position_embeddings", rope_scaling->original_max_position_embeddings},
            {"type", "yarn"}};
    if (dspark) {
        json["dspark_block_size"] = dspark->block_size;
        json["dspark_noise_token_id"] = dspark->noise_token_id;
        json["dspark_target_layer_ids"] = dspark->target_layer_ids;
        json["dspark_markov_rank"] = dspark->markov_rank;
    }
    return json;
}

Result<Config> Config::load(const std::string& path) {
    const std::string text = TRY(read_file(path, kConfigBytesMax));
    auto json = parse_json(text);
    if (!json) return std::move(json).error().in(path);
    auto config = from_json(*json);
    if (!config) return std::move(config).error().in(path);
    return config;
}

}  // namespace baleen
