// Garbage collection of ImageStore: what no manifest and no sandbox needs.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "sandbox/image/store.h"
#include "sandbox/log/posix_file.h"

namespace baleen::sandbox::image {
namespace {

struct Needed {
    std::set<std::string> layers;
    std::set<std::string> blobs;
};

class Collector {
  public:
    Collector(const std::string& store, const GcOptions& options, const StepHook& hook)
        : store_(store), options_(options), hook_(hook), now_(std::time(nullptr)) {}

    // Each name in a folder of the store that `is_needed` does not want.
    template <typename IsNeeded>
    Result<void> sweep(const std::string& folder, const IsNeeded& is_needed) {
        std::vector<std::string> names = TRY(list_folder(store_ + "/" + folder));
        // .meta before .data: what is left when we die between them is no layer.
        std::sort(names.begin(), names.end(), std::greater<>());
        for (const std::string& name : names) {
            const bool is_temporary = name.starts_with(kTemporaryPrefix);
            if (is_temporary || !is_needed(name)) TRY(remove(folder + "/" + name));
        }
        return {};
    }

    std::vector<RemovedFile> removed() && { return std::move(removed_); }

  private:
    Result<void> remove(const std::string& relative) {
        const std::string path = store_ + "/" + relative;
        struct stat status {};
        if (::lstat(path.c_str(), &status) != 0) {
            if (errno == ENOENT) return {};
            return io_error(path, "stat");
        }
        // Clocks differ: with no minimum, a file from the future goes too.
        const bool is_young = options_.min_age_s > 0 && now_ - status.st_mtime < options_.min_age_s;
        if (!S_ISREG(status.st_mode) || is_young) return {};
        removed_.push_back({relative, static_cast<uint64_t>(status.st_size)});
        if (options_.mode == GcOptions::Mode::kDryRun) return {};
        TRY(before_step(hook_, "remove", path));
        if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error(path, "remove");
        return {};
    }

    const std::string& store_;
    const GcOptions& options_;
    const StepHook& hook_;
    time_t now_;
    std::vector<RemovedFile> removed_;
};

void add_needs(const ImageManifest& manifest, Needed& needed) {
    for (const ManifestLayer& layer : manifest.layers) needed.layers.insert(layer.digest);
    needed.blobs.insert(manifest.blobs.begin(), manifest.blobs.end());
}

std::string stem_of(const std::string& name) {
    return name.substr(0, name.find('.'));
}

}  // namespace

Result<std::vector<RemovedFile>> ImageStore::collect_garbage(const GcOptions& options) {
    const StoreLock lock =
        TRY(StoreLock::take(folder_, StoreLock::Kind::kExclusive, options_.lock_timeout_ms));
    Needed needed;
    needed.layers = options.live_layers;
    for (const ListedImage& image : TRY(list())) {
        if (!image.manifest)
            return make_error(ErrorCode::kCorrupt,
                              "nothing is collected, since what {} needs is not known: {}",
                              image.ref.text(), image.problem);
        add_needs(*image.manifest, needed);
    }
    Collector collector(folder_, options, options_.before_step);
    // Merged layers are kept while all that they were made of is; `pack` has no place in them, so
    // that is what their manifest's PackRecord::stack lists.
    const std::string compacted = "manifests/.compacted";
    std::set<std::string> kept_merged;
    TRY(collector.sweep(compacted, [&](const std::string& name) {
        const auto manifest = read_manifest(folder_ + "/" + compacted + "/" + name);
        const auto is_known = [&](const std::string& digest) {
            return needed.layers.contains(digest);
        };
        if (!manifest || !manifest->pack || manifest->layers.size() != 1) return false;
        const auto& inputs = manifest->pack->stack;
        if (!std::all_of(inputs.begin(), inputs.end(), is_known)) return false;
        kept_merged.insert(manifest->layers[0].digest);
        return true;
    }));
    needed.layers.merge(kept_merged);
    TRY(collector.sweep(
        "layers", [&](const std::string& name) { return needed.layers.contains(stem_of(name)); }));
    for (const std::string& part : TRY(list_folder(folder_ + "/blobs/sha256")))
        TRY(collector.sweep("blobs/sha256/" + part,
                            [&](const std::string& name) { return needed.blobs.contains(name); }));
    for (const std::string& name : TRY(list_folder(folder_ + "/manifests"))) {
        const std::string part = "manifests/" + name;
        if (name.starts_with('.')) continue;
        TRY(collector.sweep(part, [](const std::string&) { return true; }));
        if (options.mode == GcOptions::Mode::kRemove) ::rmdir((folder_ + "/" + part).c_str());
    }
    if (options.mode == GcOptions::Mode::kRemove)
        TRY(sync_folder_step(folder_ + "/layers", options_.before_step));
    return std::move(collector).removed();
}

}  // namespace baleen::sandbox::image
