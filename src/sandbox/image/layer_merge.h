// Merging neighbouring layers into one. Pure but for reading their data.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "sandbox/image/layer_builder.h"
#include "sandbox/image/store.h"

namespace baleen::sandbox::image {

// Adds to `builder` what the layers (bottom to top) show together, as the rules of overlayfs have
// it: the upper of two files wins; directories merge unless the upper one is opaque; a whiteout
// hides and stays; a directory over a whiteout or a file is opaque from then on. `copied` is told
// of the bytes of content as they go, and may end it with an error.
Result<void> merge_into(const std::vector<const LoadedLayer*>& layers, LayerBuilder& builder,
                        const std::function<Result<void>(uint64_t bytes)>& copied);

}  // namespace baleen::sandbox::image
