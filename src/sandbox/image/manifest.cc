#include "sandbox/image/manifest.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/json.h"
#include "base/sha256.h"

namespace baleen::sandbox::image {
namespace {

constexpr size_t kNamePartMax = 128;
constexpr int kFormatVersion = 1;
constexpr size_t kListMax = 100'000;  // texts in one list

bool is_lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_version_char(char c) {
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-';
}

bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= kNamePartMax && is_lower_or_digit(text[0]) &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return is_lower_or_digit(c) || c == '.' || c == '_' || c == '-';
           });
}

bool is_version(std::string_view text) {
    return !text.empty() && text.size() <= kNamePartMax && text[0] != '.' && text[0] != '-' &&
           std::all_of(text.begin(), text.end(), is_version_char);
}

Json json_of(const ManifestLayer& layer) {
    Json json = {{"digest", layer.digest},         {"meta_bytes", layer.meta_bytes},
                 {"data_bytes", layer.data_bytes}, {"entries", layer.num_entries},
                 {"implicit", layer.num_implicit}, {"root_opaque", layer.is_root_opaque}};
    if (!layer.source_digest.empty()) {
        json["source_digest"] = layer.source_digest;
        json["source_chain"] = layer.source_chain;
    }
    return json;
}

Json json_of(const ImageConfig& config) {
    return {{"env", config.env},
            {"user", config.user},
            {"working_dir", config.working_dir},
            {"entrypoint", config.entrypoint},
            {"command", config.command}};
}

Json json_of(const PackRecord& pack) {
    return {{"trajectory", pack.trajectory},
            {"stack", pack.stack},
            {"scrub", pack.scrub},
            {"removed", pack.removed},
            {"removed_count", pack.num_removed}};
}

constexpr IntRange kCount = {0, std::numeric_limits<int64_t>::max()};

Result<uint64_t> count_of(const Json& object, std::string_view key) {
    return static_cast<uint64_t>(TRY(json_int(object, key, kCount)));
}

Result<const Json*> member(const Json& object, const std::string& key) {
    if (!object.is_object() || !object.contains(key))
        return make_error(ErrorCode::kCorrupt, "{} is missing", key);
    return &object[key];
}

Result<bool> flag_of(const Json& object, const std::string& key) {
    const Json& value = *TRY(member(object, key));
    if (!value.is_boolean())
        return make_error(ErrorCode::kCorrupt, "{} is neither true nor false", key);
    return value.get<bool>();
}

Result<std::vector<std::string>> texts_of(const Json& object, const std::string& key) {
    const Json& list = *TRY(member(object, key));
    if (!list.is_array() || list.size() > kListMax)
        return make_error(ErrorCode::kCorrupt, "{} is no list of at most {} texts", key, kListMax);
    std::vector<std::string> texts;
    for (const Json& text : list) {
        if (!text.is_string()) return make_error(ErrorCode::kCorrupt, "{} holds no texts", key);
        texts.push_back(text.get<std::string>());
    }
    return texts;
}

Result<std::string> digest_of(const Json& object, std::string_view key) {
    std::string digest = TRY(json_string(object, key));
    if (!is_digest(digest))
        return make_error(ErrorCode::kCorrupt, "{} is '{}', expected 64 hexadecimal characters",
                          key, digest.substr(0, 80));
    return digest;
}

Result<std::vector<std::string>> digests_of(const Json& object, const std::string& key) {
    std::vector<std::string> digests = TRY(texts_of(object, key));
    for (const std::string& digest : digests)
        if (!is_digest(digest))
            return make_error(ErrorCode::kCorrupt, "{} holds '{}', which is no digest", key,
                              digest.substr(0, 80));
    return digests;
}

Result<ManifestLayer> parse_layer(const Json& json) {
    ManifestLayer layer{.digest = TRY(digest_of(json, "digest")),
                        .meta_bytes = TRY(count_of(json, "meta_bytes")),
                        .data_bytes = TRY(count_of(json, "data_bytes")),
                        .num_entries = TRY(count_of(json, "entries")),
                        .num_implicit = TRY(count_of(json, "implicit")),
                        .is_root_opaque = TRY(flag_of(json, "root_opaque"))};
    if (!json_has(json, "source_digest")) return layer;
    layer.source_digest = TRY(digest_of(json, "source_digest"));
    layer.source_chain = TRY(digest_of(json, "source_chain"));
    return layer;
}

Result<ImageConfig> parse_config(const Json& json) {
    return ImageConfig{.env = TRY(texts_of(json, "env")),
                       .user = TRY(json_string(json, "user")),
                       .working_dir = TRY(json_string(json, "working_dir")),
                       .entrypoint = TRY(texts_of(json, "entrypoint")),
                       .command = TRY(texts_of(json, "command"))};
}

Result<PackRecord> parse_pack(const Json& json) {
    return PackRecord{.trajectory = TRY(json_string(json, "trajectory")),
                      .stack = TRY(digests_of(json, "stack")),
                      .scrub = TRY(texts_of(json, "scrub")),
                      .removed = TRY(texts_of(json, "removed")),
                      .num_removed = TRY(count_of(json, "removed_count"))};
}

Result<ImageManifest> parse_object(const Json& json) {
    if (!json.is_object()) return make_error(ErrorCode::kCorrupt, "no JSON object");
    TRY(json_int(json, "format", {kFormatVersion, kFormatVersion}));
    ImageManifest manifest{
        .ref = {TRY(json_string(json, "name")), TRY(json_string(json, "version"))},
        .kind = TRY(parse_image_kind(TRY(json_string(json, "kind")))),
        .config = TRY(parse_config(*TRY(member(json, "config")))),
        .platform = TRY(json_string(json, "platform")),
        .source = TRY(json_string(json, "source")),
        .created_ns = TRY(json_int(json, "created_ns", kCount)),
        .blobs = TRY(digests_of(json, "blobs"))};
    if (!is_name(manifest.ref.name) || !is_version(manifest.ref.version))
        return make_error(ErrorCode::kCorrupt, "name and version are no image reference");
    const Json& layers = *TRY(member(json, "layers"));
    if (!layers.is_array() || layers.size() > kManifestLayersMax)
        return make_error(ErrorCode::kCorrupt, "layers is no list of at most {}",
                          kManifestLayersMax);
    for (const Json& layer : layers) manifest.layers.push_back(TRY(parse_layer(layer)));
    if (json_has(json, "pack")) manifest.pack = TRY(parse_pack(json["pack"]));
    return manifest;
}

}  // namespace

Result<ImageRef> ImageRef::parse(std::string_view text) {
    const size_t colon = std::min(text.find(':'), text.size());
    ImageRef ref{std::string(text.substr(0, colon)), ""};
    if (colon < text.size()) ref.version = text.substr(colon + 1);
    const bool is_good = is_name(ref.name) && (colon == text.size() || is_version(ref.version));
    if (!is_good)
        return make_error(
            ErrorCode::kInvalidArgument,
            "'{}' is no image: expected NAME or NAME:VERSION, the name of [a-z0-9._-], "
            "the version of [A-Za-z0-9._-], at most {} characters each",
            text.substr(0, 300), kNamePartMax);
    return ref;
}

std::string_view kind_name(ImageKind kind) {
    switch (kind) {
        case ImageKind::kBase: return "base";
        case ImageKind::kWorkspace: return "workspace";
        case ImageKind::kToolkit: return "toolkit";
    }
    return "";
}

Result<ImageKind> parse_image_kind(std::string_view name) {
    for (const ImageKind kind : {ImageKind::kBase, ImageKind::kWorkspace, ImageKind::kToolkit})
        if (kind_name(kind) == name) return kind;
    return make_error(ErrorCode::kInvalidArgument,
                      "kind is '{}', expected base, workspace or toolkit", name.substr(0, 40));
}

uint64_t ImageManifest::bytes() const {
    uint64_t bytes = 0;
    for (const ManifestLayer& layer : layers) bytes += layer.meta_bytes + layer.data_bytes;
    return bytes;
}

std::string manifest_text(const ImageManifest& manifest) {
    Json layers = Json::array();
    for (const ManifestLayer& layer : manifest.layers) layers.push_back(json_of(layer));
    Json json = {{"format", kFormatVersion},           {"name", manifest.ref.name},
                 {"version", manifest.ref.version},    {"kind", kind_name(manifest.kind)},
                 {"platform", manifest.platform},      {"source", manifest.source},
                 {"created_ns", manifest.created_ns},  {"layers", std::move(layers)},
                 {"config", json_of(manifest.config)}, {"blobs", manifest.blobs}};
    if (manifest.pack) json["pack"] = json_of(*manifest.pack);
    return dump_json(json, 1) + "\n";
}

Result<ImageManifest> parse_manifest(std::string_view text) {
    Result<Json> json = parse_json(text);
    if (!json) return std::move(json).error().in("manifest");
    Result<ImageManifest> manifest = parse_object(*json);
    if (manifest) return manifest;
    return make_error(ErrorCode::kCorrupt, "manifest: {}", manifest.error().message);
}

bool same_image(const ImageManifest& a, const ImageManifest& b) {
    ImageManifest as_old_as_b = a;
    as_old_as_b.created_ns = b.created_ns;
    return as_old_as_b == b;
}

bool is_digest(std::string_view text) {
    return parse_sha256(text).has_value();
}

}  // namespace baleen::sandbox::image
