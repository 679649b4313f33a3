// import_oci: an image layout directory, layer by layer.
#include <fcntl.h>

#include <map>
#include <memory>

#include "sandbox/image/import_layer.h"
#include "sandbox/image/oci_layout.h"
#include "sandbox/image/stack_view.h"

namespace baleen::sandbox::image {
namespace {

class OciImport {
  public:
    OciImport(ImageStore& store, StoreWriter& writer, const std::string& folder,
              const ImportContext& context)
        : store_(store), writer_(writer), folder_(folder), context_(context) {}

    Result<std::vector<ManifestLayer>> run(const std::vector<OciLayer>& layers) {
        for (const OciLayer& layer : layers) progress_.bytes_total += layer.bytes;
        TRY(list_converted());
        std::vector<ManifestLayer> converted;
        std::string chain;  // digest over the layers so far
        for (size_t i = 0; i < layers.size(); ++i) {
            progress_.stage = fmt::format("layer {} of {}", i + 1, layers.size());
            chain = hex(sha256(chain + " " + layers[i].diff_id));
            std::optional<ManifestLayer> layer = known(layers[i], chain);
            if (layer)
                progress_.bytes_done += layers[i].bytes;
            else
                layer = TRY(convert(layers[i]));
            layer->source_digest = layers[i].diff_id;
            layer->source_chain = chain;
            loaded_.push_back(std::make_unique<LoadedLayer>(TRY(store_.load_layer(layer->digest))));
            view_.add_top(*loaded_.back());
            converted.push_back(*std::move(layer));
            report(context_, progress_);
        }
        return converted;
    }

    std::vector<std::string> notes;

  private:
    // What the store's images have of converted archives.
    Result<void> list_converted() {
        for (ListedImage& image : TRY(store_.list()))
            if (image.manifest)
                for (ManifestLayer& layer : image.manifest->layers)
                    if (!layer.source_digest.empty() && store_.has_layer(layer))
                        converted_.emplace(layer.source_digest, layer);
        return {};
    }

    // A layer with implicit directories depends on those below it, so they must be the same.
    std::optional<ManifestLayer> known(const OciLayer& layer, const std::string& chain) const {
        const auto [begin, end] = converted_.equal_range(layer.diff_id);
        for (auto at = begin; at != end; ++at)
            if (at->second.num_implicit == 0 || at->second.source_chain == chain) return at->second;
        return std::nullopt;
    }

    Result<ManifestLayer> convert(const OciLayer& layer) {
        const std::string path = oci_blob_path(folder_, layer.digest);
        FileSource file(TRY(open_at(AT_FDCWD, path, O_RDONLY, path)), path);
        WatchedSource watched(file, progress_, context_);
        HashingSource blob(watched);
        const auto unpacked = TRY(decompressed(blob, layer.compression));
        HashingSource archive(*unpacked);
        std::optional<Error> find_failed;
        TarLayerOptions options{.whiteouts = TarLayerOptions::Whiteouts::kOci,
                                .end_marker = TarReader::EndMarker::kOptional};
        options.find_below = [&](const std::string& at) -> std::optional<Attributes> {
            Result<std::optional<Attributes>> found = view_.directory(at);
            if (found) return *std::move(found);
            find_failed = std::move(found).error();
            return std::nullopt;
        };
        Result<ManifestLayer> made =
            layer_from_tar(writer_, archive, options, context_, progress_, notes);
        if (find_failed) return *std::move(find_failed);
        // A damaged blob makes many errors; that it is damaged says more.
        if (!made && made.error().code != ErrorCode::kCorrupt)
            return std::move(made).error().in(path);
        if (made || drain(blob)) {
            if (blob.num_bytes() != layer.bytes || hex(blob.finish()) != layer.digest)
                return make_error(ErrorCode::kCorrupt, "{}: damaged: its digest or size is another",
                                  path);
        }
        if (!made) return std::move(made).error().in(path);
        if (hex(archive.finish()) != layer.diff_id)
            return make_error(ErrorCode::kCorrupt,
                              "{}: its archive is not the one that the config names", path);
        return made;
    }

    ImageStore& store_;
    StoreWriter& writer_;
    const std::string& folder_;
    const ImportContext& context_;
    ImportProgress progress_;
    std::multimap<std::string, ManifestLayer> converted_;  // by source_digest
    std::vector<std::unique_ptr<LoadedLayer>> loaded_;
    StackView view_;
};

}  // namespace

Result<ImportResult> import_oci(ImageStore& store, const ImportTarget& target,
                                const std::string& folder, const OciOptions& options,
                                const ImportContext& context) {
    const OciImage image = TRY(read_oci_layout(folder, options.platform, options.ref_name));
    StoreWriter writer = TRY(store.writer());
    OciImport import(store, writer, folder, context);
    ImageManifest manifest{.ref = target.ref,
                           .kind = target.kind,
                           .layers = TRY(import.run(image.layers)),
                           .config = image.config,
                           .platform = image.platform,
                           .source = "oci",
                           .blobs = {TRY(writer.put_blob(image.config_text))}};
    return publish_image(writer, std::move(manifest), std::move(import.notes));
}

}  // namespace baleen::sandbox::image
