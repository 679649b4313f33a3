// The node's own copy of what mounting needs: with EROFS each layer's .meta, compared with its
// digest and checked before anybody mounts it (data stays in the store, read on demand); else the
// converted layer. A private directory on a local disk. Any number of threads.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/image/layer_backend.h"
#include "sandbox/image/store.h"

namespace baleen::sandbox::image {

// What to mount; made by LayerCache::prepare, used by the jail.
struct LocalLayer {
    LayerBackend backend = LayerBackend::kErofs;
    std::string path;       // .meta, squashfs file or directory
    std::string data_path;  // EROFS: .data in the store
};

class LayerCache {
  public:
    // Creates the folder; removes what an earlier process had not finished. One process at a time
    // uses a folder. REQUIRES: SIGPIPE is ignored (a converter may die while we feed it).
    static Result<std::unique_ptr<LayerCache>> open(const std::string& folder, LayerBackend backend,
                                                    const std::string& mksquashfs = "");

    LayerBackend backend() const { return backend_; }

    // Copies or converts the layer unless that has been done. kCorrupt for a damaged layer; a .meta
    // that an earlier process had copied is compared with its digest again, and copied anew if it
    // is damaged. While one thread prepares a layer, others that want the same wait for it.
    Result<LocalLayer> prepare(const ImageStore& store, const std::string& digest);

    // Removes all but these. REQUIRES: the others are not mounted.
    Result<void> keep_only(const std::set<std::string>& digests);

    uint64_t bytes() const;  // on the disk, of all prepared layers

  private:
    LayerCache(std::string folder, LayerBackend backend, std::string mksquashfs)
        : folder_(std::move(folder)), backend_(backend), mksquashfs_(std::move(mksquashfs)) {}

    std::string path_of(const std::string& digest) const;
    Result<void> make(const ImageStore& store, const std::string& digest, const std::string& path);
    Result<void> convert(const LoadedLayer& layer, const std::string& path) const;
    Result<bool> is_ready(const std::string& digest, const std::string& path);
    // Held while a digest is being prepared.
    class Turn;

    const std::string folder_;
    const LayerBackend backend_;
    const std::string mksquashfs_;
    std::mutex mutex_;
    std::condition_variable turn_over_;
    std::set<std::string> in_progress_;  // guarded by mutex_
    std::set<std::string> trusted_;      // guarded by mutex_; digests that this process has checked
};

// Mounts it on the directory `target` (mount_layer.h).
Result<void> attach_layer(const LocalLayer& layer, const std::string& target);

}  // namespace baleen::sandbox::image
