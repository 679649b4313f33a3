#include "sandbox/image/store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "sandbox/log/posix_file.h"

namespace baleen::sandbox::image {
namespace {

constexpr size_t kMetaBytesMax = size_t{4} << 30;
constexpr size_t kBlobBytesMax = size_t{16} << 20;
constexpr std::string_view kJsonSuffix = ".json";
constexpr const char* kCompactedFolder =
    "/manifests/.compacted";  // no image name begins with a dot

bool has_size(const std::string& path, uint64_t bytes) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
           static_cast<uint64_t>(status.st_size) == bytes;
}

}  // namespace

DataAccess LoadedLayer::data() const {
    return [fd = data_.get(), path = data_path_](uint64_t offset, std::span<uint8_t> bytes) {
        return read_exactly_at(fd, bytes, offset, path);
    };
}

Result<std::unique_ptr<ImageStore>> ImageStore::open(const std::string& folder, Options options) {
    if (options.open == Open::kExisting && !exists(folder + "/manifests"))
        return make_error(ErrorCode::kNotFound, "{}: no image store", folder);
    for (const char* part : {"", "/blobs/sha256", "/layers", "/manifests", kCompactedFolder}) {
        const std::string path = folder + part;
        if (exists(path)) continue;
        TRY(before_step(options.before_step, "create folder", path));
        TRY(make_folders(path));
    }
    return std::unique_ptr<ImageStore>(new ImageStore(folder, std::move(options)));
}

std::string ImageStore::meta_path(const std::string& digest) const {
    CHECK(is_digest(digest));
    return folder_ + "/layers/" + digest + ".meta";
}
std::string ImageStore::data_path(const std::string& digest) const {
    CHECK(is_digest(digest));
    return folder_ + "/layers/" + digest + ".data";
}
std::string ImageStore::blob_path(const std::string& digest) const {
    CHECK(is_digest(digest));
    return folder_ + "/blobs/sha256/" + digest.substr(0, 2) + "/" + digest;
}
std::string ImageStore::manifest_path(const ImageRef& ref) const {
    return folder_ + "/manifests/" + ref.name + "/" + ref.version + std::string(kJsonSuffix);
}

Result<ImageManifest> ImageStore::read_manifest(const std::string& path) const {
    const std::string text = TRY(read_file(path, kManifestBytesMax));
    Result<ImageManifest> manifest = parse_manifest(text);
    if (!manifest) return std::move(manifest).error().in(path);
    return manifest;
}

Result<std::vector<ListedImage>> ImageStore::list() const {
    std::vector<ListedImage> images;
    for (const std::string& name : TRY(list_folder(folder_ + "/manifests"))) {
        if (name.starts_with('.') || !ImageRef::parse(name)) continue;
        Result<std::vector<std::string>> files = list_folder(folder_ + "/manifests/" + name);
        if (!files && files.error().code == ErrorCode::kNotFound) continue;  // removed meanwhile
        for (const std::string& file : TRY(std::move(files))) {
            if (!file.ends_with(kJsonSuffix)) continue;
            const auto ref =
                ImageRef::parse(name + ":" + file.substr(0, file.size() - kJsonSuffix.size()));
            if (!ref) continue;
            ListedImage image{.ref = *ref};
            Result<ImageManifest> read = read_manifest(manifest_path(*ref));
            if (!read && read.error().code == ErrorCode::kNotFound) continue;
            if (read && read->ref == *ref)
                image.manifest = std::move(*read);
            else
                image.problem = read ? "the manifest is of " + read->ref.text()
                                     : std::move(read).error().message;
            images.push_back(std::move(image));
        }
    }
    return images;
}

Result<ImageManifest> ImageStore::manifest(const ImageRef& ref) const {
    if (!ref.version.empty()) {
        Result<ImageManifest> found = read_manifest(manifest_path(ref));
        if (found || found.error().code != ErrorCode::kNotFound) return found;
        return make_error(ErrorCode::kNotFound, "{}: no such image in {}", ref.text(), folder_);
    }
    std::optional<ImageManifest> newest;
    for (ListedImage& image : TRY(list())) {
        if (image.ref.name != ref.name) continue;
        if (!image.manifest) return make_error(ErrorCode::kCorrupt, "{}", image.problem);
        if (!newest || image.manifest->created_ns >= newest->created_ns)
            newest = std::move(image.manifest);
    }
    if (!newest)
        return make_error(ErrorCode::kNotFound, "{}: no such image in {}", ref.text(), folder_);
    return *std::move(newest);
}

bool ImageStore::has_layer(const ManifestLayer& layer) const {
    return has_size(meta_path(layer.digest), layer.meta_bytes) &&
           has_size(data_path(layer.digest), layer.data_bytes);
}

Result<LoadedLayer> ImageStore::load_layer(const std::string& digest) const {
    const std::string path = meta_path(digest);
    std::vector<uint8_t> meta = TRY(read_bytes(path, kMetaBytesMax));
    if (hex(sha256(std::span<const uint8_t>(meta))) != digest)
        return make_error(ErrorCode::kCorrupt, "{}: damaged: its digest is another", path);
    Result<ErofsReader> reader = ErofsReader::open(meta);
    if (!reader) return std::move(reader).error().in(path);
    if (Result<void> checked = check_layer(*reader); !checked)
        return std::move(checked).error().in(path);
    const std::string data = data_path(digest);
    Descriptor file = TRY(open_at(AT_FDCWD, data, O_RDONLY, data));
    if (!has_size(data, reader->data_bytes()))
        return make_error(ErrorCode::kCorrupt, "{}: not of {} bytes, as its .meta says", data,
                          reader->data_bytes());
    return LoadedLayer(digest, std::move(meta), std::move(*reader), std::move(file), data);
}

Result<std::string> ImageStore::read_blob(const std::string& digest) const {
    std::string text = TRY(read_file(blob_path(digest), kBlobBytesMax));
    if (hex(sha256(text)) != digest)
        return make_error(ErrorCode::kCorrupt, "{}: damaged: its digest is another",
                          blob_path(digest));
    return text;
}

Result<void> ImageStore::remove(const ImageRef& ref) {
    CHECK(!ref.version.empty());
    const StoreLock lock =
        TRY(StoreLock::take(folder_, StoreLock::Kind::kShared, options_.lock_timeout_ms));
    const std::string path = manifest_path(ref);
    TRY(before_step(options_.before_step, "remove", path));
    if (::unlink(path.c_str()) != 0) {
        if (errno != ENOENT && errno != ENOTDIR) return io_error(path, "remove");
        return make_error(ErrorCode::kNotFound, "{}: no such image in {}", ref.text(), folder_);
    }
    return sync_folder_step(folder_of(path), options_.before_step);
}

Result<std::optional<ManifestLayer>> ImageStore::find_compacted(const std::string& key) const {
    CHECK(is_digest(key));
    const Result<ImageManifest> found =
        read_manifest(folder_ + kCompactedFolder + "/" + key + std::string(kJsonSuffix));
    if (!found) {
        if (found.error().code == ErrorCode::kNotFound) return std::optional<ManifestLayer>();
        return found.error();
    }
    if (found->layers.size() != 1 || !has_layer(found->layers[0]))
        return std::optional<ManifestLayer>();
    return std::optional<ManifestLayer>(found->layers[0]);
}

Result<StoreWriter> ImageStore::writer() {
    return StoreWriter(
        *this, TRY(StoreLock::take(folder_, StoreLock::Kind::kShared, options_.lock_timeout_ms)));
}

Result<LayerDraft> StoreWriter::start_layer() {
    return LayerDraft{
        TRY(TemporaryFile::create(store_->folder_ + "/layers", store_->options_.before_step))};
}

// .data first: a .meta without its .data would be a layer that cannot be read.
Result<ManifestLayer> StoreWriter::publish_layer(LayerDraft draft, const BuiltLayer& built) {
    const StepHook& hook = store_->options_.before_step;
    const std::string folder = store_->folder_ + "/layers";
    TRY(draft.data.sync());
    TemporaryFile meta = TRY(TemporaryFile::create(folder, hook));
    TRY(meta.write(built.meta));
    TRY(meta.sync());
    TRY(draft.data.publish(store_->data_path(built.digest)));
    TRY(meta.publish(store_->meta_path(built.digest)));
    TRY(sync_folder_step(folder, hook));
    ManifestLayer layer{.digest = built.digest,
                        .meta_bytes = built.meta.size(),
                        .data_bytes = built.data_bytes,
                        .num_entries = built.num_entries,
                        .num_implicit = built.num_implicit,
                        .is_root_opaque = built.is_root_opaque};
    if (!store_->has_layer(layer))  // what was there already may be damaged
        return make_error(ErrorCode::kCorrupt, "layer {} in {} has a wrong size: remove its files",
                          built.digest, folder);
    return layer;
}

Result<Published> StoreWriter::publish_text(const std::string& path, std::string_view text) {
    const StepHook& hook = store_->options_.before_step;
    const std::string folder = folder_of(path);
    if (!exists(folder)) {
        TRY(before_step(hook, "create folder", folder));
        TRY(make_folders(folder));
    }
    TemporaryFile file = TRY(TemporaryFile::create(folder, hook));
    TRY(file.write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    TRY(file.sync());
    const Published published = TRY(file.publish(path));
    TRY(sync_folder_step(folder, hook));
    return published;
}

Result<std::string> StoreWriter::put_blob(std::string_view text) {
    if (text.size() > kBlobBytesMax)
        return make_error(ErrorCode::kExhausted, "a blob of {} bytes, at most {}", text.size(),
                          kBlobBytesMax);
    std::string digest = hex(sha256(text));
    TRY(publish_text(store_->blob_path(digest), text));
    return digest;
}

Result<void> StoreWriter::put_manifest(const ImageManifest& manifest) {
    CHECK(!manifest.ref.version.empty());
    if (manifest.layers.size() > kManifestLayersMax)
        return make_error(ErrorCode::kExhausted, "{}: {} layers, at most {}", manifest.ref.text(),
                          manifest.layers.size(), kManifestLayersMax);
    const std::string text = manifest_text(manifest);
    // What could not be read again must not be written: a text that is not UTF-8, a list too long.
    if (Result<ImageManifest> again = parse_manifest(text);
        text.size() > kManifestBytesMax || !again || *again != manifest)
        return make_error(ErrorCode::kUnsupported, "{}: its settings have no place in a manifest{}",
                          manifest.ref.text(), again ? "" : ": " + again.error().message);
    const std::string path = store_->manifest_path(manifest.ref);
    if (TRY(publish_text(path, text)) == Published::kNew) return {};
    const ImageManifest old = TRY(store_->read_manifest(path));
    if (same_image(old, manifest)) return {};
    return make_error(ErrorCode::kInvalidArgument,
                      "{} is there already with other content, and published images do not change: "
                      "choose another version, or remove it first",
                      manifest.ref.text());
}

Result<void> StoreWriter::put_compacted(const std::string& key, const ImageManifest& manifest) {
    CHECK(is_digest(key));
    TRY(publish_text(store_->folder_ + kCompactedFolder + "/" + key + std::string(kJsonSuffix),
                     manifest_text(manifest)));
    return {};
}

}  // namespace baleen::sandbox::image
