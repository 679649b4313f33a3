#include "sandbox/image/oci_layout.h"

#include <sys/utsname.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/sha256.h"

namespace baleen::sandbox::image {
namespace {

constexpr size_t kJsonBytesMax = size_t{8} << 20;
constexpr size_t kManifestsMax = 1000;
constexpr int kIndexDepthMax = 4;
constexpr std::string_view kRefName = "org.opencontainers.image.ref.name";

constexpr std::string_view kIndexTypes[] = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json"};
constexpr std::string_view kManifestTypes[] = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json"};

struct LayerType {
    std::string_view name;
    Compression compression;
};
constexpr LayerType kLayerTypes[] = {
    {"application/vnd.oci.image.layer.v1.tar", Compression::kNone},
    {"application/vnd.oci.image.layer.v1.tar+gzip", Compression::kGzip},
    {"application/vnd.oci.image.layer.v1.tar+zstd", Compression::kZstd},
    {"application/vnd.docker.image.rootfs.diff.tar", Compression::kNone},
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::kGzip},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::kZstd}};

struct OciDescriptor {
    std::string media_type;
    std::string digest;
    uint64_t bytes = 0;
    std::string platform;  // empty: not told
    std::string ref_name;
};

bool is_one_of(std::string_view type, std::span<const std::string_view> types) {
    return std::find(types.begin(), types.end(), type) != types.end();
}

Result<std::string> parse_oci_digest(const std::string& text) {
    constexpr std::string_view kPrefix = "sha256:";
    if (text.starts_with(kPrefix) && is_digest(text.substr(kPrefix.size())))
        return text.substr(kPrefix.size());
    if (text.starts_with("sha512:"))
        return make_error(ErrorCode::kUnsupported, "digest {}: only sha256 is supported",
                          text.substr(0, 30));
    return make_error(ErrorCode::kCorrupt, "'{}' is no digest", text.substr(0, 100));
}

// An optional text; other types are taken for nothing, as the specification lets them be absent.
std::string text_or_empty(const Json& object, const std::string& key) {
    return json_has(object, key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

std::string platform_text(const Json& object) {
    const std::string os = text_or_empty(object, "os");
    const std::string architecture = text_or_empty(object, "architecture");
    const std::string variant = text_or_empty(object, "variant");
    if (os.empty() || architecture.empty()) return "";
    return os + "/" + architecture + (variant.empty() ? "" : "/" + variant);
}

Result<OciDescriptor> parse_descriptor(const Json& json) {
    if (!json.is_object()) return make_error(ErrorCode::kCorrupt, "a descriptor is no object");
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    OciDescriptor found{.media_type = text_or_empty(json, "mediaType"),
                        .digest = TRY(parse_oci_digest(TRY(json_string(json, "digest")))),
                        .bytes = static_cast<uint64_t>(TRY(json_int(json, "size", {0, kMax})))};
    if (json_has(json, "platform")) found.platform = platform_text(json["platform"]);
    if (json_has(json, "annotations"))
        found.ref_name = text_or_empty(json["annotations"], std::string(kRefName));
    return found;
}

Result<std::vector<OciDescriptor>> descriptors_of(const Json& json, const std::string& key) {
    if (!json_has(json, key) || !json[key].is_array() || json[key].size() > kManifestsMax)
        return make_error(ErrorCode::kCorrupt, "{} is no list of at most {}", key, kManifestsMax);
    std::vector<OciDescriptor> found;
    for (const Json& entry : json[key]) found.push_back(TRY(parse_descriptor(entry)));
    return found;
}

Result<std::vector<std::string>> optional_texts(const Json& object, const std::string& key) {
    std::vector<std::string> texts;
    if (!json_has(object, key)) return texts;
    if (!object[key].is_array()) return make_error(ErrorCode::kCorrupt, "{} is no list", key);
    for (const Json& text : object[key]) {
        if (!text.is_string()) return make_error(ErrorCode::kCorrupt, "{} holds no texts", key);
        texts.push_back(text.get<std::string>());
    }
    return texts;
}

class Layout {
  public:
    Layout(const std::string& folder, std::string platform, const std::string& ref_name)
        : folder_(folder), platform_(std::move(platform)), ref_name_(ref_name) {}

    Result<OciImage> read() {
        const Json version =
            TRY(parse_json(TRY(read_file(folder_ + "/oci-layout", kJsonBytesMax))));
        if (!text_or_empty(version, "imageLayoutVersion").starts_with("1."))
            return make_error(ErrorCode::kUnsupported, "oci-layout: version 1 is supported");
        const Json index = TRY(parse_json(TRY(read_file(folder_ + "/index.json", kJsonBytesMax))));
        TRY(collect(index, "", 0));
        return read_image(TRY(choose()));
    }

  private:
    Result<std::string> read_blob(const OciDescriptor& descriptor) const {
        const std::string path = oci_blob_path(folder_, descriptor.digest);
        std::string text = TRY(read_file(path, kJsonBytesMax));
        if (text.size() != descriptor.bytes || hex(sha256(text)) != descriptor.digest)
            return make_error(ErrorCode::kCorrupt, "{}: damaged: its digest or size is another",
                              path);
        return text;
    }

    // All image manifests that the index leads to; a name on an index is that of what is in it.
    Result<void> collect(const Json& index, const std::string& inherited_name, int depth) {
        if (depth > kIndexDepthMax)
            return make_error(ErrorCode::kCorrupt, "indexes nested deeper than {}", kIndexDepthMax);
        for (OciDescriptor& found : TRY(descriptors_of(index, "manifests"))) {
            if (found.ref_name.empty()) found.ref_name = inherited_name;
            if (manifests_.size() >= kManifestsMax)
                return make_error(ErrorCode::kExhausted, "more than {} images", kManifestsMax);
            if (is_one_of(found.media_type, kIndexTypes)) {
                const Json nested = TRY(parse_json(TRY(read_blob(found))));
                TRY(collect(nested, found.ref_name, depth + 1));
            } else if (is_one_of(found.media_type, kManifestTypes)) {
                if (found.platform.empty()) found.platform = TRY(platform_in_config(found));
                manifests_.push_back(std::move(found));
            }
        }
        return {};
    }

    Result<std::string> platform_in_config(const OciDescriptor& manifest) const {
        const Json json = TRY(parse_json(TRY(read_blob(manifest))));
        if (!json_has(json, "config")) return std::string();
        const Json config = TRY(parse_json(TRY(read_blob(TRY(parse_descriptor(json["config"]))))));
        return platform_text(config);
    }

    // A platform without a variant takes any.
    bool is_wanted(const OciDescriptor& manifest) const {
        const bool has_platform =
            manifest.platform == platform_ || manifest.platform.starts_with(platform_ + "/");
        return has_platform && (ref_name_.empty() || manifest.ref_name == ref_name_);
    }

    Result<OciDescriptor> choose() const {
        std::vector<const OciDescriptor*> wanted;
        std::string all;
        for (const OciDescriptor& manifest : manifests_) {
            all += fmt::format("{}{} for {}", all.empty() ? "" : ", ",
                               manifest.ref_name.empty() ? "(no name)" : manifest.ref_name,
                               manifest.platform);
            const bool is_known = std::any_of(wanted.begin(), wanted.end(), [&](const auto* other) {
                return other->digest == manifest.digest;
            });
            if (is_wanted(manifest) && !is_known) wanted.push_back(&manifest);
        }
        const std::string asked =
            platform_ + (ref_name_.empty() ? "" : fmt::format(" named '{}'", ref_name_));
        if (wanted.empty())
            return make_error(ErrorCode::kNotFound, "no image for {}; there are: {}", asked,
                              all.substr(0, 1000));
        if (wanted.size() > 1)
            return make_error(ErrorCode::kInvalidArgument,
                              "{} images for {}: choose one by its name; there are: {}",
                              wanted.size(), asked, all.substr(0, 1000));
        return *wanted.front();
    }

    Result<OciImage> read_image(const OciDescriptor& descriptor) const {
        const Json manifest = TRY(parse_json(TRY(read_blob(descriptor))));
        if (!json_has(manifest, "config"))
            return make_error(ErrorCode::kCorrupt, "the image has no config");
        OciImage image;
        image.config_text = TRY(read_blob(TRY(parse_descriptor(manifest["config"]))));
        const Json config = TRY(parse_json(image.config_text));
        image.platform = platform_text(config);
        if (json_has(config, "config")) image.config = TRY(parse_config(config["config"]));
        const std::vector<OciDescriptor> layers = TRY(descriptors_of(manifest, "layers"));
        std::vector<std::string> diff_ids;
        if (json_has(config, "rootfs"))
            diff_ids = TRY(optional_texts(config["rootfs"], "diff_ids"));
        if (diff_ids.size() != layers.size())
            return make_error(ErrorCode::kCorrupt, "{} layers, but {} diff_ids", layers.size(),
                              diff_ids.size());
        for (size_t i = 0; i < layers.size(); ++i)
            image.layers.push_back({.digest = layers[i].digest,
                                    .bytes = layers[i].bytes,
                                    .compression = TRY(compression_of(layers[i].media_type)),
                                    .diff_id = TRY(parse_oci_digest(diff_ids[i]))});
        return image;
    }

    static Result<ImageConfig> parse_config(const Json& json) {
        return ImageConfig{.env = TRY(optional_texts(json, "Env")),
                           .user = text_or_empty(json, "User"),
                           .working_dir = text_or_empty(json, "WorkingDir"),
                           .entrypoint = TRY(optional_texts(json, "Entrypoint")),
                           .command = TRY(optional_texts(json, "Cmd"))};
    }

    static Result<Compression> compression_of(const std::string& media_type) {
        for (const LayerType& type : kLayerTypes)
            if (type.name == media_type) return type.compression;
        return make_error(ErrorCode::kUnsupported, "layers of type '{}' are not supported",
                          media_type.substr(0, 100));
    }

    const std::string& folder_;
    std::string platform_;
    const std::string& ref_name_;
    std::vector<OciDescriptor> manifests_;
};

}  // namespace

std::string host_platform() {
    utsname name{};
    ::uname(&name);
    const std::string machine = name.machine;
    constexpr std::pair<const char*, const char*> kArchitectures[] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"}, {"ppc64le", "ppc64le"}};
    for (const auto& [kernel, oci] : kArchitectures)
        if (machine == kernel) return std::string("linux/") + oci;
    return "linux/" + machine;
}

Result<OciImage> read_oci_layout(const std::string& folder, const std::string& platform,
                                 const std::string& ref_name) {
    Layout layout(folder, platform.empty() ? host_platform() : platform, ref_name);
    Result<OciImage> image = layout.read();
    if (!image) return std::move(image).error().in(folder);
    return image;
}

std::string oci_blob_path(const std::string& folder, const std::string& digest) {
    return folder + "/blobs/sha256/" + digest;
}

}  // namespace baleen::sandbox::image
