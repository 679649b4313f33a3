// ImageStore::verify: every byte of images against its digest.
#include <fcntl.h>

#include <algorithm>
#include <map>

#include "sandbox/image/store.h"

namespace baleen::sandbox::image {
namespace {

constexpr size_t kReadBytes = 1 << 20;

class Verifier {
  public:
    Verifier(const ImageStore& store, const VerifyProgress& progress, const std::stop_token& stop)
        : store_(store), progress_(progress), stop_(stop) {}

    Result<void> run(const std::vector<ListedImage>& images) {
        for (const ListedImage& image : images) add(image);
        for (const auto& [digest, layer] : layers_) total_ += layer.data_bytes;
        for (const auto& [digest, layer] : layers_) TRY(check_layer_files(layer));
        for (const auto& [digest, image] : blobs_)
            if (const auto blob = store_.read_blob(digest); !blob)
                report("blob " + digest, image, blob.error().message);
        return {};
    }

    std::vector<VerifyProblem> problems() && { return std::move(problems_); }

  private:
    void add(const ListedImage& image) {
        if (!image.manifest) return report(image.ref.text(), "", image.problem);
        for (const ManifestLayer& layer : image.manifest->layers) {
            layers_.try_emplace(layer.digest, layer);
            image_of_.try_emplace(layer.digest, image.ref.text());
        }
        for (const std::string& blob : image.manifest->blobs)
            blobs_.try_emplace(blob, image.ref.text());
    }

    void report(const std::string& what, const std::string& image, const std::string& problem) {
        problems_.push_back({image.empty() ? what : what + " of " + image, problem});
    }

    Result<void> check_layer_files(const ManifestLayer& layer) {
        const std::string what = "layer " + layer.digest;
        const std::string& image = image_of_[layer.digest];
        const Result<LoadedLayer> loaded = store_.load_layer(layer.digest);
        if (!loaded) {
            report(what, image, loaded.error().message);
        } else if (loaded->meta().size() != layer.meta_bytes ||
                   loaded->reader().data_bytes() != layer.data_bytes) {
            report(what, image, "its sizes are not those of the manifest");
        } else if (const Result<bool> same = has_data_digest(*loaded); !same) {
            if (same.error().code == ErrorCode::kCancelled) return same.error();
            report(what, image, same.error().message);
        } else if (!*same) {
            report(what, image,
                   store_.data_path(layer.digest) + ": damaged: its digest is another");
        }
        return {};
    }

    Result<bool> has_data_digest(const LoadedLayer& layer) {
        const std::string path = store_.data_path(layer.digest());
        const Descriptor file = TRY(open_at(AT_FDCWD, path, O_RDONLY, path));
        std::vector<uint8_t> buffer(kReadBytes);
        Sha256 hash;
        while (const size_t n = TRY(read_some(file.get(), buffer, path))) {
            hash.update(std::span<const uint8_t>(buffer).first(n));
            done_ += n;
            if (progress_) progress_(done_, total_);
            if (stop_.stop_requested())
                return make_error(ErrorCode::kCancelled, "verify was stopped");
        }
        return hex(hash.finish()) == layer.reader().data_digest();
    }

    const ImageStore& store_;
    const VerifyProgress& progress_;
    const std::stop_token& stop_;
    std::map<std::string, ManifestLayer> layers_;  // by digest
    std::map<std::string, std::string> image_of_;  // the first image that needs a layer
    std::map<std::string, std::string> blobs_;     // digest to image
    uint64_t done_ = 0;
    uint64_t total_ = 0;
    std::vector<VerifyProblem> problems_;
};

}  // namespace

Result<std::vector<VerifyProblem>> ImageStore::verify(const ImageRef& ref,
                                                      const VerifyProgress& progress,
                                                      const std::stop_token& stop) const {
    std::vector<ListedImage> images = TRY(list());
    std::erase_if(images, [&](const ListedImage& image) {
        return (!ref.name.empty() && image.ref.name != ref.name) ||
               (!ref.version.empty() && image.ref.version != ref.version);
    });
    if (images.empty() && !ref.name.empty())
        return make_error(ErrorCode::kNotFound, "{}: no such image in {}", ref.text(), folder_);
    Verifier verifier(*this, progress, stop);
    TRY(verifier.run(images));
    return std::move(verifier).problems();
}

}  // namespace baleen::sandbox::image
