// The JSON of an OCI image layout directory: from index.json to the layers and settings of one
// image. Every blob is compared with its digest before it is parsed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sandbox/image/decompress.h"
#include "sandbox/image/manifest.h"

namespace baleen::sandbox::image {

struct OciLayer {
    std::string digest;  // SHA-256 of the blob, 64 characters
    uint64_t bytes = 0;
    Compression compression = Compression::kNone;
    std::string diff_id;  // SHA-256 of the archive in it
};

struct OciImage {
    std::vector<OciLayer> layers;  // bottom to top
    ImageConfig config;
    std::string platform;     // "linux/amd64"
    std::string config_text;  // as stored
};

// "os/architecture" or "os/architecture/variant" of the machine that this runs on.
std::string host_platform();

// The image for `platform`; where the layout holds several, the one annotated with `ref_name`.
// kNotFound lists what there is.
Result<OciImage> read_oci_layout(const std::string& folder, const std::string& platform,
                                 const std::string& ref_name);

std::string oci_blob_path(const std::string& folder, const std::string& digest);

}  // namespace baleen::sandbox::image
