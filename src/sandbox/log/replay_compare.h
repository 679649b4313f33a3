// Replay levels 1 and 2 (spec 5.6): compares what an operation gave when it was recorded with what
// it gave when it was executed again. Executing is the daemon's business.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/log/blob_store.h"
#include "sandbox/log/normalise.h"
#include "sandbox/log/payload.h"
#include "sandbox/log/tree_manifest.h"

namespace baleen::sandbox {

inline constexpr size_t kReportedPathsMax = 100;  // of one operation

enum class ReplayLevel { kResults = 1, kLayers = 2 };

enum class DifferenceKind { kExit, kStandardOutput, kStandardError, kAnswer, kFiles };
std::string_view name_of(DifferenceKind kind);  // "exit", "stdout", "stderr", "answer", "files"

struct OpDifference {
    uint64_t op = 0;
    DifferenceKind kind = DifferenceKind::kExit;
    std::string detail;                 // one line
    std::vector<PathDifference> paths;  // kFiles, if both manifests were kept
    uint64_t num_paths = 0;             // of them, also of those beyond kReportedPathsMax
};

struct ReplayOptions {
    ReplayLevel level = ReplayLevel::kResults;
    Normalisers normalisers;
};

// How the second execution differs first: exit, stdout, stderr, answer, files. nullopt if not at
// all. A volatile op is compared by its exit alone. Durations and causes do not count. Outputs are
// the same if their digests are; else, with normalisers, if both were kept whole and are the same
// once normalised. An error if a blob that is needed cannot be read.
Result<std::optional<OpDifference>> compare_op(uint64_t op, const Intent& intent,
                                               const OpResult& recorded, const OpResult& again,
                                               const BlobStore& blobs,
                                               const ReplayOptions& options);

// Adds up a replay. The first difference is what matters: later ones may follow from it.
class ReplayReport {
  public:
    void add(uint64_t op, const Intent& intent, const OpResult& recorded, const OpResult& again,
             const std::optional<OpDifference>& difference, ReplayLevel level);

    uint64_t num_ops() const { return num_ops_; }
    uint64_t num_different() const { return num_different_; }
    // Compared by exit alone, because they are volatile.
    uint64_t num_volatile() const { return num_volatile_; }
    // Not compared at level 2, because one of the executions has no digest of its layer.
    uint64_t num_without_layer() const { return num_without_layer_; }
    const std::optional<OpDifference>& first() const { return first_; }
    bool is_reproducible() const { return num_different_ == 0; }

  private:
    uint64_t num_ops_ = 0, num_different_ = 0, num_volatile_ = 0, num_without_layer_ = 0;
    std::optional<OpDifference> first_;
};

}  // namespace baleen::sandbox
