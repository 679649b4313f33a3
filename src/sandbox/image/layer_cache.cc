#include "sandbox/image/layer_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/secret.h"
#include "sandbox/image/layer_export.h"
#include "sandbox/image/mount_layer.h"
#include "sandbox/image/squashfs.h"
#include "sandbox/log/posix_file.h"

namespace baleen::sandbox::image {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUnfinished = ".making-";

Result<void> remove_tree(const std::string& path) {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) return make_error(ErrorCode::kIo, "{}: cannot remove: {}", path, error.message());
    return {};
}

// Conversions read all of .data, so all of it is compared with its digest first.
Result<void> check_data(const LoadedLayer& layer) {
    const DataAccess data = layer.data();
    std::vector<uint8_t> buffer(1 << 20);
    Sha256 hash;
    for (uint64_t at = 0; at < layer.reader().data_bytes();) {
        const auto bytes = std::span(buffer).first(
            std::min<uint64_t>(buffer.size(), layer.reader().data_bytes() - at));
        TRY(data(at, bytes));
        hash.update(std::span<const uint8_t>(bytes));
        at += bytes.size();
    }
    if (hex(hash.finish()) != layer.reader().data_digest())
        return make_error(ErrorCode::kCorrupt, "layer {}: .data is damaged: its digest is another",
                          layer.digest());
    return {};
}

}  // namespace

class LayerCache::Turn {
  public:
    Turn(LayerCache& cache, std::string digest) : cache_(cache), digest_(std::move(digest)) {
        std::unique_lock lock(cache_.mutex_);
        cache_.turn_over_.wait(lock, [&] { return !cache_.in_progress_.contains(digest_); });
        cache_.in_progress_.insert(digest_);
    }
    ~Turn() {
        const std::lock_guard lock(cache_.mutex_);
        cache_.in_progress_.erase(digest_);
        cache_.turn_over_.notify_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    LayerCache& cache_;
    std::string digest_;
};

Result<std::unique_ptr<LayerCache>> LayerCache::open(const std::string& folder,
                                                     LayerBackend backend,
                                                     const std::string& mksquashfs) {
    TRY(make_folders(folder));
    // Devices and setuid programs of unpacked layers are nobody else's business.
    if (::chmod(folder.c_str(), 0700) != 0) return io_error(folder, "change the mode of");
    for (const std::string& name : TRY(list_folder(folder)))
        if (name.starts_with(kUnfinished)) TRY(remove_tree(folder + "/" + name));
    return std::unique_ptr<LayerCache>(
        new LayerCache(folder, backend, mksquashfs.empty() ? find_mksquashfs() : mksquashfs));
}

std::string LayerCache::path_of(const std::string& digest) const {
    const char* suffix = backend_ == LayerBackend::kErofs      ? ".meta"
                         : backend_ == LayerBackend::kSquashfs ? ".squashfs"
                                                               : ".tree";
    return folder_ + "/" + digest + suffix;
}

Result<LocalLayer> LayerCache::prepare(const ImageStore& store, const std::string& digest) {
    if (!is_digest(digest))
        return make_error(ErrorCode::kInvalidArgument, "'{}' is no layer digest",
                          digest.substr(0, 80));
    LocalLayer local{.backend = backend_, .path = path_of(digest)};
    if (backend_ == LayerBackend::kErofs) local.data_path = store.data_path(digest);
    const Turn turn(*this, digest);
    if (!TRY(is_ready(digest, local.path))) TRY(make(store, digest, local.path));
    if (!local.data_path.empty() && !exists(local.data_path))
        return make_error(ErrorCode::kNotFound, "{}: missing", local.data_path);
    return local;
}

// REQUIRES: the digest's Turn is held.
Result<bool> LayerCache::is_ready(const std::string& digest, const std::string& path) {
    {
        const std::lock_guard lock(mutex_);
        if (trusted_.contains(digest)) return exists(path);
        trusted_.insert(digest);  // from here on: checked below, or made anew and checked there
    }
    if (backend_ != LayerBackend::kErofs || !exists(path)) return exists(path);
    const std::vector<uint8_t> meta = TRY(read_bytes(path, UINT64_MAX));
    if (hex(sha256(std::span<const uint8_t>(meta))) == digest) return true;
    TRY(remove_tree(path));
    return false;
}

Result<void> LayerCache::make(const ImageStore& store, const std::string& digest,
                              const std::string& path) {
    const LoadedLayer layer = TRY(store.load_layer(digest));
    const std::string unfinished = folder_ + "/" + std::string(kUnfinished) + random_name(16);
    const auto fill = [&]() -> Result<void> {
        if (backend_ != LayerBackend::kErofs) {
            TRY(check_data(layer));
            return convert(layer, unfinished);
        }
        const Descriptor file =
            TRY(open_at(AT_FDCWD, unfinished, O_WRONLY | O_CREAT | O_EXCL, unfinished, 0600));
        TRY(write_all(file.get(), layer.meta(), unfinished));
        return ::fsync(file.get()) == 0 ? Result<void>() : io_error(unfinished, "sync");
    };
    Result<void> made = fill();
    if (made && ::rename(unfinished.c_str(), path.c_str()) != 0) made = io_error(path, "rename to");
    if (!made) {
        (void)remove_tree(unfinished);
        return made;
    }
    return sync_folder(folder_);
}

Result<void> LayerCache::convert(const LoadedLayer& layer, const std::string& path) const {
    if (backend_ == LayerBackend::kSquashfs) return write_squashfs(layer, path, mksquashfs_);
    if (::mkdir(path.c_str(), 0700) != 0) return io_error(path, "create");
    TRY(unpack_layer(layer.reader(), layer.data(), path));
    // All of it before the rename: after a crash there must be no half-written tree of this name.
    const Descriptor folder = TRY(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, path));
    return ::syncfs(folder.get()) == 0 ? Result<void>() : io_error(path, "sync");
}

Result<void> LayerCache::keep_only(const std::set<std::string>& digests) {
    for (const std::string& name : TRY(list_folder(folder_))) {
        const std::string digest = name.substr(0, name.find('.'));
        if (!is_digest(digest) || digests.contains(digest)) continue;
        const Turn turn(*this, digest);
        TRY(remove_tree(folder_ + "/" + name));
    }
    return {};
}

uint64_t LayerCache::bytes() const {
    uint64_t bytes = 0;
    std::error_code error;
    for (auto at = fs::recursive_directory_iterator(folder_, error);
         !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
        struct stat status {};
        if (::lstat(at->path().c_str(), &status) == 0)
            bytes += static_cast<uint64_t>(status.st_blocks) * 512;
    }
    return bytes;
}

Result<void> attach_layer(const LocalLayer& layer, const std::string& target) {
    switch (layer.backend) {
        case LayerBackend::kErofs: return mount_layer(layer.path, layer.data_path, target);
        case LayerBackend::kSquashfs: return mount_squashfs(layer.path, target);
        case LayerBackend::kDirectory: return mount_directory(layer.path, target);
    }
    return {};
}

}  // namespace baleen::sandbox::image
