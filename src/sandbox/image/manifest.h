// What an image is: its layers from bottom to top, its settings and where it came from. Stored as
// manifests/<name>/<version>.json and never changed; docs/formats.md has the keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace baleen::sandbox::image {

// "name:version". Names are [a-z0-9][a-z0-9._-]*, versions [A-Za-z0-9_][A-Za-z0-9._-]*, each at
// most 128 bytes, so both are safe as file names.
struct ImageRef {
    std::string name;
    std::string version;  // empty: the newest

    static Result<ImageRef> parse(std::string_view text);
    std::string text() const { return version.empty() ? name : name + ":" + version; }
    bool operator==(const ImageRef&) const = default;
};

// Versioned apart; stacked in this order.
enum class ImageKind { kBase, kWorkspace, kToolkit };
std::string_view kind_name(ImageKind kind);
Result<ImageKind> parse_image_kind(std::string_view name);

struct ManifestLayer {
    std::string digest;  // SHA-256 of .meta, 64 characters
    uint64_t meta_bytes = 0;
    uint64_t data_bytes = 0;
    uint64_t num_entries = 0;
    uint64_t num_implicit = 0;    // directories whose attributes came from the layers below
    bool is_root_opaque = false;  // hides all layers below (overlayfs does not do that by itself)
    std::string source_digest;  // SHA-256 of the OCI layer archive it was made of; empty if of none
    std::string source_chain;   // digest over that and those of all layers below it
    bool operator==(const ManifestLayer&) const = default;
};

// How programs of the image are to be started.
struct ImageConfig {
    std::vector<std::string> env;  // "NAME=value"
    std::string user;
    std::string working_dir;
    std::vector<std::string> entrypoint;
    std::vector<std::string> command;
    bool operator==(const ImageConfig&) const = default;
};

// Of a layer packed from the writable layer of a sandbox.
struct PackRecord {
    std::string trajectory;            // that made it; empty if none was told
    std::vector<std::string> stack;    // digests of the layers that it lay on, bottom to top
    std::vector<std::string> scrub;    // patterns
    std::vector<std::string> removed;  // paths that matched, the first kRemovedListedMax
    uint64_t num_removed = 0;
    bool operator==(const PackRecord&) const = default;
};
inline constexpr size_t kRemovedListedMax = 10'000;

struct ImageManifest {
    ImageRef ref;  // with a version
    ImageKind kind = ImageKind::kBase;
    std::vector<ManifestLayer> layers;  // bottom to top
    ImageConfig config;
    std::string platform;  // "linux/amd64", empty if unknown
    std::string source;    // "oci", "tar", "directory", "debootstrap", "pack", "compact"
    int64_t created_ns = 0;
    std::vector<std::string> blobs;  // SHA-256 of blobs that belong to it
    std::optional<PackRecord> pack;

    uint64_t bytes() const;
    bool operator==(const ImageManifest&) const = default;
};

inline constexpr size_t kManifestBytesMax = size_t{16} << 20;
inline constexpr size_t kManifestLayersMax = 1024;

std::string manifest_text(const ImageManifest& manifest);
// Any text: the manifest, or an error that names the key.
Result<ImageManifest> parse_manifest(std::string_view text);

// True if both describe the same image, whenever they were made.
bool same_image(const ImageManifest& a, const ImageManifest& b);

// True for 64 characters of [0-9a-f]: safe as a file name.
bool is_digest(std::string_view text);

}  // namespace baleen::sandbox::image
