#include "sandbox/log/replay_compare.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace baleen::sandbox {
namespace {

constexpr std::array<std::string_view, 5> kKindNames = {"exit", "stdout", "stderr", "answer",
                                                        "files"};
// What is stored of an output is at most 16 MiB (spec 3), a manifest of 200,000 files is larger.
constexpr uint64_t kOutputBytesMax = uint64_t{16} << 20;
constexpr uint64_t kManifestBytesMax = uint64_t{256} << 20;
constexpr size_t kShownBytesMax = 80;

std::string exit_of(const OpResult& result) {
    std::string text = result.signal      ? fmt::format("signal {}", *result.signal)
                       : result.exit_code ? fmt::format("exit code {}", *result.exit_code)
                                          : "no exit code";
    return text + (result.timed_out ? ", timed out" : "");
}

// A line of an output, short and printable.
std::string shown(std::string_view line) {
    std::string out;
    for (const char c : line.substr(0, kShownBytesMax))
        out += c >= ' ' && c < 0x7F ? std::string(1, c)
                                    : fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
    return "'" + out + (line.size() > kShownBytesMax ? "..." : "") + "'";
}

std::string_view first_line(std::string_view text) {
    return text.substr(0, text.find('\n'));
}

std::string first_different_line(std::string_view before, std::string_view after) {
    size_t number = 1;
    while (!before.empty() && !after.empty() && first_line(before) == first_line(after)) {
        before.remove_prefix(std::min(before.size(), first_line(before).size() + 1));
        after.remove_prefix(std::min(after.size(), first_line(after).size() + 1));
        ++number;
    }
    return fmt::format("line {}: {}, again {}", number, shown(first_line(before)),
                       shown(first_line(after)));
}

// Empty if the outputs are the same.
Result<std::string> compare_outputs(const Output& before, const Output& after,
                                    const BlobStore& blobs, const Normalisers& normalisers) {
    if (before.digest == after.digest) return std::string();
    const std::string sizes = fmt::format("{} bytes, again {}", before.total, after.total);
    if (before.head || after.head) return sizes + "; they were not kept whole";
    std::string first = TRY(blobs.fetch(before.kept, kOutputBytesMax));
    std::string second = TRY(blobs.fetch(after.kept, kOutputBytesMax));
    if (normalisers.any()) {
        first = normalise(first, normalisers);
        second = normalise(second, normalisers);
    }
    if (first == second) return std::string();
    return sizes + "; " + first_different_line(first, second);
}

Result<OpDifference> compare_layers(const LayerState& before, const LayerState& after,
                                    const BlobStore& blobs) {
    OpDifference difference{.kind = DifferenceKind::kFiles};
    difference.detail = fmt::format("layer {}, again {}", hex(before.digest), hex(after.digest));
    if (!before.manifest || !after.manifest) return difference;
    const auto tree = [&](const StoredBytes& manifest) -> Result<std::vector<TreeEntry>> {
        return read_manifest(TRY(blobs.fetch(manifest, kManifestBytesMax)));
    };
    difference.paths = compare_trees(TRY(tree(*before.manifest)), TRY(tree(*after.manifest)));
    difference.num_paths = difference.paths.size();
    if (difference.paths.size() > kReportedPathsMax) difference.paths.resize(kReportedPathsMax);
    return difference;
}

}  // namespace

std::string_view name_of(DifferenceKind kind) {
    return kKindNames[static_cast<size_t>(kind)];
}

Result<std::optional<OpDifference>> compare_op(uint64_t op, const Intent& intent,
                                               const OpResult& recorded, const OpResult& again,
                                               const BlobStore& blobs,
                                               const ReplayOptions& options) {
    using Answer = std::optional<OpDifference>;
    const auto differs = [op](DifferenceKind kind, std::string detail) {
        return Answer(OpDifference{.op = op, .kind = kind, .detail = std::move(detail)});
    };
    if (exit_of(recorded) != exit_of(again))
        return differs(DifferenceKind::kExit,
                       fmt::format("{}, again {}", exit_of(recorded), exit_of(again)));
    if (intent.is_volatile) return Answer();
    std::string output = TRY(compare_outputs(recorded.standard_output, again.standard_output, blobs,
                                             options.normalisers));
    if (!output.empty()) return differs(DifferenceKind::kStandardOutput, std::move(output));
    std::string error = TRY(
        compare_outputs(recorded.standard_error, again.standard_error, blobs, options.normalisers));
    if (!error.empty()) return differs(DifferenceKind::kStandardError, std::move(error));
    if (recorded.answer != again.answer)
        return differs(DifferenceKind::kAnswer,
                       first_different_line(recorded.answer, again.answer));
    const bool has_layers = recorded.layer && again.layer;
    if (options.level < ReplayLevel::kLayers || !has_layers ||
        recorded.layer->digest == again.layer->digest)
        return Answer();
    OpDifference files = TRY(compare_layers(*recorded.layer, *again.layer, blobs));
    files.op = op;
    return Answer(std::move(files));
}

void ReplayReport::add(uint64_t op, const Intent& intent, const OpResult& recorded,
                       const OpResult& again, const std::optional<OpDifference>& difference,
                       ReplayLevel level) {
    CHECK(!difference || difference->op == op);
    ++num_ops_;
    if (intent.is_volatile) ++num_volatile_;
    const bool has_layers = recorded.layer && again.layer;
    if (level >= ReplayLevel::kLayers && !intent.is_volatile && !has_layers) ++num_without_layer_;
    if (!difference) return;
    ++num_different_;
    if (!first_) first_ = difference;
}

}  // namespace baleen::sandbox
