#include "model/weights.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstring>

#include "model/checkpoint_report.h"
#include "quant/quant.h"
#include "tensor/safetensors.h"

namespace baleen {
namespace {

// Turns names into views. Runs after check_checkpoint found no problem: every name exists with its
// shape, so a lookup that fails here is our mistake. What values can still get wrong is kept.
class Binder {
  public:
    Binder(const Checkpoint& checkpoint, Weights& weights)
        : checkpoint_(checkpoint), config_(weights.config), weights_(weights) {}

    void bind();
    const std::vector<std::string>& problems() const { return report_.problems; }
    std::string problems_text() const { return report_.problems_text(Weights::kProblemsShown); }

  private:
    const StoredTensor& stored(const std::string& name) const;
    const uint8_t* aligned(const StoredTensor& tensor);
    const uint8_t* scales(const std::string& name);
    WeightMatrix matrix(const std::string& name);
    WeightMatrix quantized(const std::string& name);
    std::vector<float> floats(const std::string& name) const;
    HyperConnectionWeights hyper_connection(const std::string& site);
    CompressorWeights compressor(const std::string& prefix);
    AttentionWeights attention(const std::string& prefix, AttentionKind kind);
    ExpertWeights expert(const std::string& prefix);
    MoeWeights moe(const std::string& prefix, bool hash_routing);
    LayerWeights layer(const std::string& prefix, int64_t layer_idx);
    MtpWeights mtp();
    void check_hash_table(const std::string& name, std::span<const uint8_t> table);

    const Checkpoint& checkpoint_;
    const Config& config_;
    Weights& weights_;
    CheckpointReport report_;  // only problems, of values
};

const StoredTensor& Binder::stored(const std::string& name) const {
    const StoredTensor* tensor = checkpoint_.find(name);
    if (tensor == nullptr) check_failed(__FILE__, __LINE__, "the inventory has the tensor", name);
    return *tensor;
}

// The tensor's bytes, copied when they do not start at a multiple of the element's width.
const uint8_t* Binder::aligned(const StoredTensor& tensor) {
    const size_t width = dtype_bytes(*tensor.dtype);
    if (reinterpret_cast<uintptr_t>(tensor.data.data()) % width == 0) return tensor.data.data();
    auto copy = std::make_unique_for_overwrite<uint8_t[]>(tensor.data.size());
    std::memcpy(copy.get(), tensor.data.data(), tensor.data.size());
    return weights_.owned.emplace_back(std::move(copy)).get();
}

// ue8m0 in place, or f32 powers of two converted. Both have the exponent bias 127, so the code is
// the f32's exponent field; 2^-127 alone is an f32 subnormal.
const uint8_t* Binder::scales(const std::string& name) {
    const StoredTensor& tensor = stored(name);
    if (tensor.dtype == DType::kF8E8M0) return tensor.data.data();
    const size_t count = tensor.data.size() / 4;
    auto codes = std::make_unique_for_overwrite<uint8_t[]>(count);
    for (size_t i = 0; i < count; ++i) {
        uint32_t bits = 0;
        std::memcpy(&bits, tensor.data.data() + 4 * i, 4);
        const bool is_normal_power =
            (bits & 0x807FFFFFu) == 0 && bits >> 23 != 0 && bits >> 23 != 255;
        if (!is_normal_power && bits != 0x00400000u) {
            report_.problems.push_back(
                fmt::format("{}: f32 scale {} is {}, expected a power of two from 2^-127 to 2^127",
                            name, i, std::bit_cast<float>(bits)));
            break;
        }
        codes[i] = static_cast<uint8_t>(bits >> 23);
    }
    return weights_.owned.emplace_back(std::move(codes)).get();
}

WeightMatrix Binder::matrix(const std::string& name) {
    const StoredTensor& tensor = stored(name);
    CHECK(tensor.dtype == DType::kF32 || tensor.dtype == DType::kBF16);
    return {.format = tensor.dtype == DType::kF32 ? WeightFormat::kF32 : WeightFormat::kBF16,
            .rows = tensor.shape[0],
            .cols = tensor.shape[1],
            .data = aligned(tensor)};
}

// NAME.weight and NAME.scale, FP8 or FP4 by what is stored.
WeightMatrix Binder::quantized(const std::string& name) {
    const StoredTensor& tensor = stored(name + ".weight");
    const bool is_fp4 = tensor.dtype == DType::kI8;
    return {.format = is_fp4 ? WeightFormat::kFp4 : WeightFormat::kFp8,
            .rows = tensor.shape[0],
            .cols = tensor.shape[1] * (is_fp4 ? 2 : 1),
            .data = tensor.data.data(),
            .scales = scales(name + ".scale")};
}

// A small tensor as f32, whether stored as f32 or bf16.
std::vector<float> Binder::floats(const std::string& name) const {
    const StoredTensor& tensor = stored(name);
    const size_t width = dtype_bytes(*tensor.dtype);
    std::vector<float> values(tensor.data.size() / width);
    if (tensor.dtype == DType::kF32) {
        std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
        return values;
    }
    for (size_t i = 0; i < values.size(); ++i) {
        Bf16 code = 0;
        std::memcpy(&code, tensor.data.data() + 2 * i, 2);
        values[i] = f32_from_bf16(code);
    }
    return values;
}

HyperConnectionWeights Binder::hyper_connection(const std::string& site) {
    return {.fn = matrix(site + "_fn"),
            .base = floats(site + "_base"),
            .scale = floats(site + "_scale")};
}

CompressorWeights Binder::compressor(const std::string& prefix) {
    return {.wkv = matrix(prefix + "wkv.weight"),
            .wgate = matrix(prefix + "wgate.weight"),
            .ape = floats(prefix + "ape"),
            .norm = floats(prefix + "norm.weight")};
}

AttentionWeights Binder::attention(const std::string& prefix, AttentionKind kind) {
    AttentionWeights w;
    w.wq_a = quantized(prefix + "wq_a");
    w.q_norm = floats(prefix + "q_norm.weight");
    w.wq_b = quantized(prefix + "wq_b");
    w.wkv = quantized(prefix + "wkv");
    w.kv_norm = floats(prefix + "kv_norm.weight");
    w.wo_a = quantized(prefix + "wo_a");
    w.wo_b = quantized(prefix + "wo_b");
    w.attn_sink = floats(prefix + "attn_sink");
    if (kind != AttentionKind::kWindow) w.compressor = compressor(prefix + "compressor.");
    if (kind == AttentionKind::kCsa)
        w.indexer = IndexerWeights{.wq_b = quantized(prefix + "indexer.wq_b"),
                                   .weights_proj = matrix(prefix + "indexer.weights_proj.weight"),
                                   .compressor = compressor(prefix + "indexer.compressor.")};
    return w;
}

ExpertWeights Binder::expert(const std::string& prefix) {
    return {.w1 = quantized(prefix + ".w1"),
            .w3 = quantized(prefix + ".w3"),
            .w2 = quantized(prefix + ".w2")};
}

MoeWeights Binder::moe(const std::string& prefix, bool hash_routing) {
    MoeWeights w;
    w.gate = matrix(prefix + "gate.weight");
    if (hash_routing) {
        w.tid2eid = stored(prefix + "gate.tid2eid").data;
        check_hash_table(prefix + "gate.tid2eid", w.tid2eid);
    } else {
        w.gate_bias = floats(prefix + "gate.bias");
    }
    w.routed_experts.reserve(static_cast<size_t>(config_.n_routed_experts));
    for (int64_t e = 0; e < config_.n_routed_experts; ++e)
        w.routed_experts.push_back(expert(fmt::format("{}experts.{}", prefix, e)));
    w.shared_expert = expert(prefix + "shared_experts");
    return w;
}

// Spec 8.1: with a repeated id in a row the reference would drop a contribution.
void Binder::check_hash_table(const std::string& name, std::span<const uint8_t> table) {
    const auto per_token = static_cast<size_t>(config_.num_experts_per_tok);
    std::vector<int64_t> last_row(static_cast<size_t>(config_.n_routed_experts), -1);
    for (size_t i = 0; i < table.size() / 8; ++i) {
        int64_t expert_idx = 0;
        std::memcpy(&expert_idx, table.data() + 8 * i, 8);
        const auto row = static_cast<int64_t>(i / per_token);
        if (expert_idx < 0 || expert_idx >= config_.n_routed_experts) {
            report_.problems.push_back(fmt::format("{}: token {} has expert {}, expected 0 to {}",
                                                   name, row, expert_idx,
                                                   config_.n_routed_experts - 1));
            return;
        }
        int64_t& seen_in = last_row[static_cast<size_t>(expert_idx)];
        if (seen_in == row) {
            report_.problems.push_back(fmt::format(
                "{}: token {} has expert {} twice, expected distinct ids", name, row, expert_idx));
            return;
        }
        seen_in = row;
    }
}

LayerWeights Binder::layer(const std::string& prefix, int64_t layer_idx) {
    LayerWeights w;
    w.hc_attn = hyper_connection(prefix + "hc_attn");
    w.hc_ffn = hyper_connection(prefix + "hc_ffn");
    w.attn_norm = floats(prefix + "attn_norm.weight");
    w.ffn_norm = floats(prefix + "ffn_norm.weight");
    w.attention = attention(prefix + "attn.", config_.attention_kind(layer_idx));
    w.moe = moe(prefix + "ffn.", config_.uses_hash_routing(layer_idx));
    return w;
}

MtpWeights Binder::mtp() {
    return {.layer = layer("mtp.0.", config_.num_hidden_layers),
            .e_proj = quantized("mtp.0.e_proj"),
            .h_proj = quantized("mtp.0.h_proj"),
            .enorm = floats("mtp.0.enorm.weight"),
            .hnorm = floats("mtp.0.hnorm.weight"),
            .norm = floats("mtp.0.norm.weight"),
            .hc_head = hyper_connection("mtp.0.hc_head")};
}

void Binder::bind() {
    weights_.embed = matrix("embed.weight");
    weights_.head = matrix("head.weight");
    weights_.norm = floats("norm.weight");
    weights_.hc_head = hyper_connection("hc_head");
    for (int64_t i = 0; i < config_.num_hidden_layers; ++i)
        weights_.layers.push_back(layer(fmt::format("layers.{}.", i), i));
    if (!config_.dspark && config_.num_mtp_stages() == 1) weights_.mtp = mtp();
}

// Asks the kernel to start reading what every token needs. Routed experts stay on demand: they are
// most of the bytes, and a machine may not hold them all. A refusal costs only speed.
void begin_reading_dense(const Checkpoint& checkpoint) {
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    for (const StoredTensor& tensor : checkpoint.tensors()) {
        if (tensor.name.find(".experts.") != std::string::npos || tensor.data.empty()) continue;
        const auto begin = reinterpret_cast<uintptr_t>(tensor.data.data());
        const uintptr_t page_begin = begin / page * page;
        (void)::madvise(reinterpret_cast<void*>(page_begin),
                        tensor.data.size() + begin - page_begin, MADV_WILLNEED);
    }
}

}  // namespace

Result<std::shared_ptr<const Weights>> Weights::load(const std::string& directory) {
    auto weights = std::make_shared<Weights>();
    weights->config = TRY(Config::load(directory + "/config.json"));
    Checkpoint checkpoint = TRY(Checkpoint::open(directory));
    resolve_expert_dtype(checkpoint, weights->config);
    const CheckpointReport report = check_checkpoint(checkpoint, weights->config);
    if (!report.problems.empty())
        return make_error(ErrorCode::kCorrupt, "{}: {}", directory,
                          report.problems_text(kProblemsShown));
    Binder binder(checkpoint, *weights);
    binder.bind();
    if (!binder.problems().empty())
        return make_error(ErrorCode::kCorrupt, "{}: {}", directory, binder.problems_text());
    begin_reading_dense(checkpoint);
    weights->bytes = checkpoint.bytes();
    weights->shards = std::move(checkpoint).take_shards();
    return std::shared_ptr<const Weights>(std::move(weights));
}

}  // namespace baleen
