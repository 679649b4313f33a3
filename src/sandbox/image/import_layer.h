// What the importers share. Private to importer.h's functions.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "sandbox/image/glob.h"
#include "sandbox/image/importer.h"
#include "sandbox/image/tar_reader.h"

namespace baleen::sandbox::image {

// Passes bytes through, reports progress and stops when asked to.
class WatchedSource : public ByteSource {
  public:
    WatchedSource(ByteSource& source, ImportProgress& progress, const ImportContext& context)
        : source_(source), progress_(progress), context_(context) {}
    Result<size_t> read(std::span<uint8_t> buffer) override;

  private:
    ByteSource& source_;
    ImportProgress& progress_;
    const ImportContext& context_;
    uint64_t next_report_ = 0;
};

Result<void> stop_if_asked(const ImportContext& context);
void report(const ImportContext& context, const ImportProgress& progress);

struct TarLayerOptions {
    enum class Whiteouts { kLiteral, kOci };
    Whiteouts whiteouts = Whiteouts::kLiteral;
    TarReader::EndMarker end_marker = TarReader::EndMarker::kRequired;
    FindAttributes find_below;
};

// Builds and publishes the layer of one archive, read to its end.
Result<ManifestLayer> layer_from_tar(StoreWriter& writer, ByteSource& tar,
                                     const TarLayerOptions& options, const ImportContext& context,
                                     ImportProgress& progress, std::vector<std::string>& notes);

struct DirectoryLayerOptions {
    enum class Source { kPlain, kOverlayUpper };
    Source source = Source::kPlain;
    std::vector<Glob> scrub;
};

struct DirectoryLayer {
    ManifestLayer layer;
    std::vector<std::string> removed;  // scrubbed paths, directories without what they held
    uint64_t num_removed = 0;
};

// Builds and publishes the layer of a directory. Paths are resolved beneath it and through no
// symlink, so it may change under our eyes; a file that changes size while it is read is an error.
Result<DirectoryLayer> layer_from_directory(StoreWriter& writer, const std::string& folder,
                                            const DirectoryLayerOptions& options,
                                            const ImportContext& context, ImportProgress& progress,
                                            std::vector<std::string>& notes);

// Puts the manifest, with the time of now.
Result<ImportResult> publish_image(StoreWriter& writer, ImageManifest manifest,
                                   std::vector<std::string> notes);

// The text with everything but printable UTF-8 as \xNN, for messages and JSON.
std::string printable(std::string_view text);

}  // namespace baleen::sandbox::image
