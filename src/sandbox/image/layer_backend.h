// In which form this host can mount layers: found out once at the start, told in `capabilities`.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace baleen::sandbox::image {

enum class LayerBackend {
    kErofs,      // the layer's own files, no loop device, data read on demand
    kSquashfs,   // converted to one squashfs file, on a loop device
    kDirectory,  // unpacked
};
std::string_view backend_name(LayerBackend backend);

struct LayerSupport {
    LayerBackend backend = LayerBackend::kDirectory;
    std::string reason;  // why this one, and why none before it
};

struct DetectOptions {
    // Leaves out backends that would be better, to choose another by hand and in tests.
    LayerBackend best = LayerBackend::kErofs;
    std::string mksquashfs;  // empty: where the system has it
};

// Tries each form in turn. A test layer is written to `scratch_folder` and mounted detached from
// the file tree, so nobody sees it. Needs CAP_SYS_ADMIN: kUnsupported without, with the reason.
Result<LayerSupport> detect_layer_support(const std::string& scratch_folder,
                                          const DetectOptions& options = {});

// Path of the program, or empty.
std::string find_mksquashfs();

}  // namespace baleen::sandbox::image
