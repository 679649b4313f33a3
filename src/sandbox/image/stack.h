// From the images that a sandbox names to the lower directories of its root.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/image/importer.h"
#include "sandbox/image/store.h"

namespace baleen::sandbox::image {

// More lowers than this are merged first.
inline constexpr size_t kLowersMax = 64;

struct ImageSpec {
    ImageRef base;
    std::optional<ImageRef> workspace;
    std::vector<ImageRef> toolkits;
};

struct ImageStack {
    std::vector<ManifestLayer> layers;  // bottom to top; at most kLowersMax, at least one
    ImageConfig config;                 // later images overrule earlier ones; env by name
    std::vector<ImageRef> images;       // as resolved, with versions
};

// Base, workspace, toolkits. A layer that hides everything below it (an opaque root, which
// overlayfs does not honour) drops the layers below. Too many layers are merged, which may take
// long and writes to the store; the merged ones are found again next time.
Result<ImageStack> resolve_stack(ImageStore& store, const ImageSpec& spec,
                                 const ImportContext& context);

// Which neighbours to merge so that at most `num_max` layers remain: ranges [begin, end) in order,
// the others stay. Merges where the fewest bytes are copied. Pure.
struct MergeRange {
    size_t begin = 0;
    size_t end = 0;
    bool operator==(const MergeRange&) const = default;
};
std::vector<MergeRange> plan_merges(const std::vector<uint64_t>& layer_bytes, size_t num_max);

// One layer that shows what the given ones show together, whiteouts and opaque marks kept, so that
// it can stand in their place in any stack. Bottom to top, two or more.
Result<ManifestLayer> merge_layers(ImageStore& store, const std::vector<ManifestLayer>& layers,
                                   const ImportContext& context);

}  // namespace baleen::sandbox::image
