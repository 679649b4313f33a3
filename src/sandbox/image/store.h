// The image store: a directory, also on a shared file system.
//
//     blobs/sha256/ab/<hex>              texts that belong to images (an OCI config)
//     layers/<digest>.meta, .data        layers, see docs/formats.md
//     manifests/<name>/<version>.json    images
//
// Several processes and threads may use one store at a time. A published file is never changed; a
// reader that has a manifest finds all of its layers, unless garbage was collected meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/image/erofs_reader.h"
#include "sandbox/image/layer_builder.h"
#include "sandbox/image/manifest.h"
#include "sandbox/image/store_files.h"

namespace baleen::sandbox::image {

class StoreWriter;

struct ListedImage {
    ImageRef ref;
    std::optional<ImageManifest> manifest;
    std::string problem;  // why there is no manifest
};

// A layer's .meta in memory, its digest checked, and its .data open for reading.
class LoadedLayer {
  public:
    const ErofsReader& reader() const { return reader_; }
    const std::string& digest() const { return digest_; }
    std::span<const uint8_t> meta() const { return meta_; }
    DataAccess data() const;

  private:
    friend class ImageStore;
    LoadedLayer(std::string digest, std::vector<uint8_t> meta, ErofsReader reader, Descriptor data,
                std::string data_path)
        : digest_(std::move(digest)),
          meta_(std::move(meta)),
          reader_(std::move(reader)),
          data_(std::move(data)),
          data_path_(std::move(data_path)) {}

    std::string digest_;
    std::vector<uint8_t> meta_;  // what reader_ looks at
    ErofsReader reader_;
    Descriptor data_;
    std::string data_path_;
};

struct RemovedFile {
    std::string path;  // relative to the store
    uint64_t bytes = 0;
};

struct GcOptions {
    enum class Mode { kDryRun, kRemove };
    Mode mode = Mode::kDryRun;
    std::set<std::string> live_layers;  // digests that sandboxes use, kept without a manifest
    // Younger files stay: a writer on another node may be about to name them in a manifest, where
    // the file system's locks do not reach.
    int64_t min_age_s = 3600;
};

struct VerifyProblem {
    std::string what;  // an image, layer or blob
    std::string problem;
};

// Bytes read so far and to be read.
using VerifyProgress = std::function<void(uint64_t done, uint64_t total)>;

class ImageStore {
  public:
    enum class Open { kExisting, kCreate };
    struct Options {
        Open open = Open::kExisting;
        int64_t lock_timeout_ms = 30'000;
        StepHook before_step;  // for tests
    };
    static Result<std::unique_ptr<ImageStore>> open(const std::string& folder, Options options);

    const std::string& folder() const { return folder_; }
    std::string meta_path(const std::string& digest) const;
    std::string data_path(const std::string& digest) const;
    std::string blob_path(const std::string& digest) const;

    // Sorted by name and version; damaged manifests are listed as such.
    Result<std::vector<ListedImage>> list() const;

    // Without a version: the one made last.
    Result<ImageManifest> manifest(const ImageRef& ref) const;

    // Both files are there, with the size that .meta says for .data.
    bool has_layer(const ManifestLayer& layer) const;

    // Reads .meta, compares it with the digest and checks every structure in it. A damaged one is
    // kCorrupt here, before anybody mounts it.
    Result<LoadedLayer> load_layer(const std::string& digest) const;

    Result<std::string> read_blob(const std::string& digest) const;

    // Takes the image out of the list. Its layers stay until garbage is collected.
    Result<void> remove(const ImageRef& ref);

    // Removes layers and blobs that no manifest names and temporary files left by writers that
    // died. Returns what was removed, or would be. A manifest that cannot be read stops it: what it
    // needs is not known.
    Result<std::vector<RemovedFile>> collect_garbage(const GcOptions& options);

    // Reads everything that the images of this name and version (all, without a name) need and
    // compares digests: damaged data is found here. kCancelled when asked to stop.
    Result<std::vector<VerifyProblem>> verify(const ImageRef& ref, const VerifyProgress& progress,
                                              const std::stop_token& stop) const;

    // Waits while garbage is collected; the store is not collected while the writer lives.
    Result<StoreWriter> writer();

    // Manifests of merged layers, by a digest over what was merged; not listed. See stack.h.
    Result<std::optional<ManifestLayer>> find_compacted(const std::string& key) const;

  private:
    friend class StoreWriter;
    ImageStore(std::string folder, Options options)
        : folder_(std::move(folder)), options_(std::move(options)) {}
    std::string manifest_path(const ImageRef& ref) const;
    Result<ImageManifest> read_manifest(const std::string& path) const;

    std::string folder_;
    Options options_;
};

// A layer that is being written; its temporary file goes unless it is published.
struct LayerDraft {
    TemporaryFile data;
};

class StoreWriter {
  public:
    StoreWriter(StoreWriter&&) = default;
    StoreWriter& operator=(StoreWriter&&) = delete;

    // Where a builder writes the .data of a new layer.
    Result<LayerDraft> start_layer();
    // Durable when it returns. A layer that is there already is kept, and the draft goes.
    Result<ManifestLayer> publish_layer(LayerDraft draft, const BuiltLayer& built);

    // Stores a text; its digest.
    Result<std::string> put_blob(std::string_view text);

    // REQUIRES: all layers and blobs have been published. An image that is there already is fine if
    // it is the same; another one under this name and version is kInvalidArgument.
    Result<void> put_manifest(const ImageManifest& manifest);

    Result<void> put_compacted(const std::string& key, const ImageManifest& manifest);

  private:
    friend class ImageStore;
    StoreWriter(const ImageStore& store, StoreLock lock) : store_(&store), lock_(std::move(lock)) {}
    Result<Published> publish_text(const std::string& path, std::string_view text);

    const ImageStore* store_;
    StoreLock lock_;
};

}  // namespace baleen::sandbox::image
