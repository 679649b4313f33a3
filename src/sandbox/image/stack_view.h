// What a stack of layers shows at a path, as overlayfs would: whiteouts and opaque directories
// hide, directories merge. Only as much as importing needs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/image/entry.h"
#include "sandbox/image/store.h"

namespace baleen::sandbox::image {

class StackView {
  public:
    // Bottom to top. Layers must outlive the view.
    void add_top(const LoadedLayer& layer) { layers_.push_back(&layer); }

    // The attributes of the directory at a path, without overlayfs' marks; none if there is none.
    Result<std::optional<Attributes>> directory(const std::string& path) const;

  private:
    std::vector<const LoadedLayer*> layers_;
};

}  // namespace baleen::sandbox::image
