// import_tar: one archive, one layer.
#include <fcntl.h>
#include <sys/stat.h>

#include "sandbox/image/decompress.h"
#include "sandbox/image/import_layer.h"

namespace baleen::sandbox::image {
namespace {

struct OpenedArchive {
    Descriptor file;
    uint64_t bytes = 0;  // 0: unknown
};

Result<OpenedArchive> open_archive(const std::string& path) {
    OpenedArchive archive;
    archive.file = path == "-" ? Descriptor(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3))
                               : TRY(open_at(AT_FDCWD, path, O_RDONLY, path));
    if (!archive.file.is_open()) return io_error("standard input", "open");
    struct stat status {};
    if (::fstat(archive.file.get(), &status) != 0) return io_error(path, "stat");
    if (S_ISDIR(status.st_mode))
        return make_error(ErrorCode::kInvalidArgument, "{}: a directory, expected an archive",
                          path);
    if (S_ISREG(status.st_mode)) archive.bytes = static_cast<uint64_t>(status.st_size);
    return archive;
}

}  // namespace

Result<ImportResult> import_tar(ImageStore& store, const ImportTarget& target,
                                const std::string& path, const ImportContext& context) {
    OpenedArchive archive = TRY(open_archive(path));
    ImportProgress progress{.stage = "tar", .bytes_total = archive.bytes};
    FileSource file(std::move(archive.file), path);
    WatchedSource watched(file, progress, context);
    const auto unpacked = TRY(decompressed_by_magic(watched));
    StoreWriter writer = TRY(store.writer());
    std::vector<std::string> notes;
    Result<ManifestLayer> layer = layer_from_tar(writer, *unpacked, {}, context, progress, notes);
    if (!layer) return std::move(layer).error().in(path);
    return publish_image(
        writer,
        {.ref = target.ref, .kind = target.kind, .layers = {std::move(*layer)}, .source = "tar"},
        std::move(notes));
}

}  // namespace baleen::sandbox::image
