// Ways for images to come into a store. Each builds the layers, publishes them and then the
// manifest; a failure or a crash anywhere leaves no image and, after garbage collection, no file.
// All text and archives are hostile. One import belongs to one thread; several may run on one
// store.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/image/layer_tree.h"
#include "sandbox/image/manifest.h"
#include "sandbox/image/store.h"

namespace baleen::sandbox::image {

struct ImportProgress {
    std::string stage;         // "layer 2 of 5"
    uint64_t bytes_done = 0;   // of the input as it is stored, compressed or not
    uint64_t bytes_total = 0;  // 0: unknown
    uint64_t entries = 0;
};

struct ImportContext {
    LayerLimits limits;
    std::function<void(const ImportProgress&)> progress;  // about once a megabyte
    std::stop_token stop;                                 // then kCancelled
};

struct ImportTarget {
    ImageRef ref;  // with a version
    ImageKind kind = ImageKind::kBase;
};

struct ImportResult {
    ImageManifest manifest;
    std::vector<std::string> notes;  // what was left out or looked odd, for people
};

// An archive as one layer: plain, gzip or zstd. "-" is standard input. Names that begin with ".wh."
// are ordinary names here.
Result<ImportResult> import_tar(ImageStore& store, const ImportTarget& target,
                                const std::string& path, const ImportContext& context);

// A directory as one layer. Other file systems mounted in it are left out.
Result<ImportResult> import_directory(ImageStore& store, const ImportTarget& target,
                                      const std::string& folder, const ImportContext& context);

struct OciOptions {
    std::string platform;  // "os/architecture[/variant]"; empty: this machine's
    std::string ref_name;  // of several images in the layout; empty: the only one
};

// An OCI image layout directory: every layer of the chosen image. Layers that the store has already
// converted are not read again.
Result<ImportResult> import_oci(ImageStore& store, const ImportTarget& target,
                                const std::string& folder, const OciOptions& options,
                                const ImportContext& context);

struct DebootstrapOptions {
    std::string suite;                 // "bookworm"
    std::string mirror;                // empty: debootstrap's own
    std::vector<std::string> include;  // packages beside the minimal system
    std::string temporary_folder = "/var/tmp";
    std::string program;  // empty: debootstrap, where the system has it
};

// A Debian system as debootstrap makes it. Needs root. kUnsupported where it is not installed.
Result<ImportResult> import_debootstrap(ImageStore& store, const ImportTarget& target,
                                        const DebootstrapOptions& options,
                                        const ImportContext& context);

struct PackOptions {
    std::string upper;  // the upper directory of an overlay that nobody writes to now
    std::vector<ManifestLayer> stack;  // the layers below it, which become part of the image
    ImageConfig config;
    std::vector<std::string> scrub;  // patterns of glob.h: what matches is left out
    std::string trajectory;          // that made it
};

// The writable layer of a sandbox as a layer: whiteouts and opaque directories stay. A path that is
// scrubbed is as if the sandbox had never changed it: a lower layer's file shows again.
Result<ImportResult> pack_upper(ImageStore& store, const ImportTarget& target,
                                const PackOptions& options, const ImportContext& context);

}  // namespace baleen::sandbox::image
