#include "sandbox/image/import_layer.h"

#include <chrono>

namespace baleen::sandbox::image {
namespace {

constexpr uint64_t kReportBytes = 1 << 20;

// Bytes of the UTF-8 character at the start, 0 if there is none that may be shown.
size_t utf8_bytes(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
    const size_t count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < count) return 0;
    for (size_t i = 1; i < count; ++i)
        if ((byte(i) & 0xc0) != 0x80) return 0;
    const bool is_bad = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
                        (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f);
    return is_bad ? 0 : count;
}

// Adds an entry of an OCI layer: ".wh." names speak of the layers below.
Result<void> add_oci(const Entry& entry, LayerBuilder& builder) {
    constexpr std::string_view kPrefix = ".wh.";
    constexpr std::string_view kOpaque = ".wh..wh..opq";
    const size_t name_at = entry.path.rfind('/') + 1;  // npos + 1 is 0
    const std::string_view name = std::string_view(entry.path).substr(name_at);
    if (!name.starts_with(kPrefix)) return builder.add(entry);
    const std::string parent = entry.path.substr(0, name_at == 0 ? 0 : name_at - 1);
    if (name == kOpaque) return builder.make_opaque(parent);
    if (name.starts_with(".wh..wh.")) return {};  // bookkeeping of an old union file system
    const std::string_view hidden = name.substr(kPrefix.size());
    if (hidden.empty() || hidden == "." || hidden == "..")
        return make_error(ErrorCode::kCorrupt, "a whiteout of '{}'", hidden);
    return builder.hide_lower(entry.path.substr(0, name_at) + std::string(hidden));
}

Result<void> copy_content(TarReader& reader, LayerBuilder& builder, std::vector<uint8_t>& buffer) {
    while (const size_t n = TRY(reader.read(buffer)))
        TRY(builder.append(std::span<const uint8_t>(buffer).first(n)));
    return {};
}

}  // namespace

Result<void> stop_if_asked(const ImportContext& context) {
    if (context.stop.stop_requested())
        return make_error(ErrorCode::kCancelled, "the import was stopped");
    return {};
}

void report(const ImportContext& context, const ImportProgress& progress) {
    if (context.progress) context.progress(progress);
}

Result<size_t> WatchedSource::read(std::span<uint8_t> buffer) {
    TRY(stop_if_asked(context_));
    const size_t n = TRY(source_.read(buffer));
    progress_.bytes_done += n;
    if (progress_.bytes_done >= next_report_ || n == 0) {
        report(context_, progress_);
        next_report_ = progress_.bytes_done + kReportBytes;
    }
    return n;
}

Result<ManifestLayer> layer_from_tar(StoreWriter& writer, ByteSource& tar,
                                     const TarLayerOptions& options, const ImportContext& context,
                                     ImportProgress& progress, std::vector<std::string>& notes) {
    LayerDraft draft = TRY(writer.start_layer());
    LayerBuilder builder(draft.data, context.limits);
    TarReader reader(tar, options.end_marker);
    std::vector<uint8_t> buffer(256 << 10);
    while (const std::optional<Entry> entry = TRY(reader.next())) {
        const bool is_oci = options.whiteouts == TarLayerOptions::Whiteouts::kOci;
        Result<void> added = is_oci ? add_oci(*entry, builder) : builder.add(*entry);
        // A whiteout's own content, if it has any, is skipped.
        const bool has_content = entry->kind == EntryKind::kRegular && builder.is_file_open();
        if (added && has_content) added = copy_content(reader, builder, buffer);
        if (!added)
            return std::move(added).error().in(
                fmt::format("entry '{}'", printable(entry->path.substr(0, 200))));
        ++progress.entries;
    }
    TRY(drain(tar));
    if (reader.num_dropped_xattrs() > 0)
        notes.push_back(fmt::format("{} attributes that belong to a host were left out",
                                    reader.num_dropped_xattrs()));
    const BuiltLayer built = TRY(builder.finish(options.find_below));
    return writer.publish_layer(std::move(draft), built);
}

Result<ImportResult> publish_image(StoreWriter& writer, ImageManifest manifest,
                                   std::vector<std::string> notes) {
    manifest.created_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                              std::chrono::system_clock::now().time_since_epoch())
                              .count();
    TRY(writer.put_manifest(manifest));
    return ImportResult{std::move(manifest), std::move(notes)};
}

std::string printable(std::string_view text) {
    std::string shown;
    while (!text.empty()) {
        const size_t n = text[0] == '\\' ? 0 : utf8_bytes(text);
        if (n == 0) {
            shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
            text.remove_prefix(1);
        } else {
            shown += text.substr(0, n);
            text.remove_prefix(n);
        }
    }
    return shown;
}

}  // namespace baleen::sandbox::image
