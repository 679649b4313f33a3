#include "sandbox/image/tar_reader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "sandbox/image/tar_format.h"

namespace baleen::sandbox::image {
namespace {

using tar::kBlockBytes;

constexpr size_t kReadAheadBytes = 128 << 10;
// A pax header holds one file's attributes: a few values of 64 KiB at most.
constexpr uint64_t kPayloadBytesMax = 1 << 20;
constexpr uint64_t kIdMax = 0xfffffffe;

std::span<const uint8_t> field_bytes(std::span<const uint8_t> header, tar::Field field) {
    return header.subspan(field.offset, field.bytes);
}

// The text of a field up to its first zero byte.
std::string field_text(std::span<const uint8_t> header, tar::Field field) {
    const auto bytes = field_bytes(header, field);
    return {bytes.begin(), std::find(bytes.begin(), bytes.end(), uint8_t{0})};
}

// Two's complement over all bits but the first, which marks the form.
std::optional<int64_t> base256(std::span<const uint8_t> bytes) {
    const bool is_negative = (bytes[0] & 0x40) != 0;
    uint64_t value = is_negative ? UINT64_MAX : 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
        const uint8_t sign_byte = is_negative ? 0xff : 0x00;
        const uint8_t byte =
            i == 0 ? static_cast<uint8_t>(is_negative ? bytes[0] | 0x80 : bytes[0] & 0x7f)
                   : bytes[i];
        if (bytes.size() - i > 8 && byte != sign_byte) return std::nullopt;
        value = value << 8 | byte;
    }
    const auto result = static_cast<int64_t>(value);
    if ((result < 0) != is_negative) return std::nullopt;
    return result;
}

std::optional<int64_t> octal(std::span<const uint8_t> bytes) {
    size_t i = 0;
    while (i < bytes.size() && bytes[i] == ' ') ++i;
    int64_t value = 0;
    for (; i < bytes.size() && bytes[i] >= '0' && bytes[i] <= '7'; ++i)
        value = value * 8 + (bytes[i] - '0');  // 12 digits at most: 36 bits
    for (; i < bytes.size(); ++i)
        if (bytes[i] != ' ' && bytes[i] != 0) return std::nullopt;
    return value;
}

Result<int64_t> number(std::span<const uint8_t> header, tar::Field field, const char* name,
                       int64_t min, uint64_t max) {
    const auto bytes = field_bytes(header, field);
    const std::optional<int64_t> value = (bytes[0] & 0x80) != 0 ? base256(bytes) : octal(bytes);
    if (!value || *value < min || (*value > 0 && static_cast<uint64_t>(*value) > max))
        return make_error(ErrorCode::kCorrupt, "the {} field holds no number {} to {}", name, min,
                          max);
    return *value;
}

bool is_zero(std::span<const uint8_t> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// The sum of all bytes with the checksum field taken as spaces; old writers summed signed chars.
bool has_right_checksum(std::span<const uint8_t> header) {
    int64_t sum = 0;
    int64_t signed_sum = 0;
    for (size_t i = 0; i < header.size(); ++i) {
        const bool is_field =
            i >= tar::kChecksum.offset && i < tar::kChecksum.offset + tar::kChecksum.bytes;
        const uint8_t byte = is_field ? ' ' : header[i];
        sum += byte;
        signed_sum += static_cast<int8_t>(byte);
    }
    const std::optional<int64_t> stored = octal(field_bytes(header, tar::kChecksum));
    return stored && (*stored == sum || *stored == signed_sum);
}

// The name of a ustar header has two fields; GNU keeps other things in the second.
std::string header_name(std::span<const uint8_t> header) {
    const std::string name = field_text(header, tar::kName);
    const auto magic = field_bytes(header, tar::kMagic);
    const bool is_ustar =
        std::equal(magic.begin(), magic.end(), tar::kUstarMagic.begin(), tar::kUstarMagic.end(),
                   [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); });
    const std::string prefix = is_ustar ? field_text(header, tar::kPrefix) : std::string();
    return prefix.empty() ? name : prefix + "/" + name;
}

// The payload ends with its block.
uint64_t padding_of(uint64_t size) {
    return (kBlockBytes - size % kBlockBytes) % kBlockBytes;
}

bool has_payload(char type) {
    switch (type) {
        case tar::kTypeHardLink:
        case tar::kTypeSymlink:
        case tar::kTypeCharDevice:
        case tar::kTypeBlockDevice:
        case tar::kTypeDirectory:
        case tar::kTypeFifo: return false;  // a size there is a hint, no bytes follow
        default: return true;
    }
}

}  // namespace

TarReader::TarReader(ByteSource& source, EndMarker end_marker)
    : source_(source), end_marker_(end_marker), buffer_(kReadAheadBytes) {}

Result<size_t> TarReader::fill(std::span<uint8_t> buffer) {
    size_t done = 0;
    while (done < buffer.size()) {
        if (buffer_begin_ == buffer_end_) {
            buffer_begin_ = 0;
            buffer_end_ = TRY(source_.read(buffer_));
            if (buffer_end_ == 0) break;
        }
        const size_t n = std::min(buffer.size() - done, buffer_end_ - buffer_begin_);
        std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(buffer_begin_), n,
                    buffer.begin() + static_cast<std::ptrdiff_t>(done));
        buffer_begin_ += n;
        done += n;
    }
    offset_ += done;
    return done;
}

Result<void> TarReader::skip(uint64_t bytes) {
    std::vector<uint8_t> rest(std::min<uint64_t>(bytes, kReadAheadBytes));
    while (bytes > 0) {
        const size_t wanted = std::min<uint64_t>(bytes, rest.size());
        if (TRY(fill(std::span(rest).first(wanted))) < wanted)
            return make_error(ErrorCode::kCorrupt, "the archive ends inside a file, at byte {}",
                              offset_);
        bytes -= wanted;
    }
    return {};
}

Result<size_t> TarReader::read(std::span<uint8_t> buffer) {
    const size_t wanted = std::min<uint64_t>(content_left_, buffer.size());
    if (wanted == 0) return size_t{0};
    const size_t n = TRY(fill(buffer.first(wanted)));
    if (n < wanted)
        return make_error(ErrorCode::kCorrupt, "the archive ends inside a file, at byte {}",
                          offset_);
    content_left_ -= n;
    return n;
}

Result<std::optional<Entry>> TarReader::next() {
    while (!is_at_end_) {
        TRY(skip(std::exchange(content_left_, 0) + std::exchange(padding_left_, 0)));
        const uint64_t header_offset = offset_;
        Result<std::optional<Entry>> entry = read_header();
        if (!entry)
            return std::move(entry).error().in(fmt::format("tar header at byte {}", header_offset));
        if (entry->has_value()) return entry;
    }
    return std::optional<Entry>();
}

Result<std::optional<Entry>> TarReader::read_header() {
    uint8_t header[kBlockBytes];
    const size_t n = TRY(fill(header));
    if (n == 0 && end_marker_ == EndMarker::kOptional) {
        is_at_end_ = true;
        return std::optional<Entry>();
    }
    if (n < kBlockBytes)
        return make_error(ErrorCode::kCorrupt, "the archive ends without its end marker");
    if (is_zero(header)) {
        is_at_end_ = true;
        TRY(expect_zeros_to_end());
        return std::optional<Entry>();
    }
    if (!has_right_checksum(header))
        return make_error(ErrorCode::kCorrupt, "wrong checksum: damaged, or no tar archive");
    return take_header(header);
}

// Bytes behind the end marker would be lost without a word (joined archives look so).
Result<void> TarReader::expect_zeros_to_end() {
    if (gnu_name_ || gnu_link_)
        return make_error(ErrorCode::kCorrupt, "the archive ends behind a long name");
    std::vector<uint8_t> rest(kReadAheadBytes);
    while (const size_t n = TRY(fill(rest)))
        if (!is_zero(std::span(rest).first(n)))
            return make_error(ErrorCode::kCorrupt, "bytes other than zero behind the end marker");
    return {};
}

// The bytes that follow the header.
Result<uint64_t> TarReader::payload_bytes(Header header, char type, bool is_meta) const {
    constexpr uint64_t kMax = std::numeric_limits<int64_t>::max() - 2 * kBlockBytes;
    auto size = static_cast<uint64_t>(TRY(number(header, tar::kSize, "size", 0, kMax)));
    if (!has_payload(type)) return uint64_t{0};
    if (!is_meta && pax_.size) size = *pax_.size;
    if (!is_meta && !pax_.size && pax_global_.size) size = *pax_global_.size;
    if (size > kMax) return make_error(ErrorCode::kCorrupt, "a file of {} bytes", size);
    return size;
}

// A header that speaks of the next entry.
Result<void> TarReader::take_meta(char type, uint64_t size) {
    if (type == tar::kTypeGnuVolume) return skip(size);
    if (type == tar::kTypePax || type == tar::kTypePaxGlobal) return read_pax(size, type);
    std::string text = TRY(read_payload(size));
    text.resize(std::min(text.find('\0'), text.size()));
    (type == tar::kTypeGnuLongName ? gnu_name_ : gnu_link_) = std::move(text);
    return {};
}

// One header: an entry, or none when it was a header for the next entry.
Result<std::optional<Entry>> TarReader::take_header(Header header) {
    const char type = static_cast<char>(header[tar::kType.offset]);
    const bool is_meta = type == tar::kTypePax || type == tar::kTypePaxGlobal ||
                         type == tar::kTypeGnuLongName || type == tar::kTypeGnuLongLink ||
                         type == tar::kTypeGnuVolume;
    const uint64_t size = TRY(payload_bytes(header, type, is_meta));
    if (is_meta) {
        TRY(take_meta(type, size));
        padding_left_ = padding_of(size);
        return std::optional<Entry>();
    }
    Result<Entry> entry = make_entry(header, type);
    if (!entry) {
        const std::string name = pax_.path ? *pax_.path : gnu_name_.value_or(header_name(header));
        return std::move(entry).error().in(fmt::format("entry '{}'", name.substr(0, 200)));
    }
    entry->size = entry->kind == EntryKind::kRegular ? size : 0;
    content_left_ = size;
    padding_left_ = padding_of(size);
    pax_ = {};
    gnu_name_.reset();
    gnu_link_.reset();
    return std::optional<Entry>(std::move(*entry));
}

Result<std::string> TarReader::read_payload(uint64_t size) {
    if (size > kPayloadBytesMax)
        return make_error(ErrorCode::kExhausted, "an extended header of {} bytes, at most {}", size,
                          kPayloadBytesMax);
    std::vector<uint8_t> bytes(size);
    if (TRY(fill(bytes)) < size)
        return make_error(ErrorCode::kCorrupt, "the archive ends inside an extended header");
    return std::string(bytes.begin(), bytes.end());
}

Result<void> TarReader::read_pax(uint64_t size, char type) {
    const std::string records = TRY(read_payload(size));
    if (type == tar::kTypePax) {
        pax_ = {};
        return parse_pax(records, pax_);
    }
    TRY(parse_pax(records, pax_global_));
    // Attributes for every file of an archive: nobody writes them, and they could pile up.
    pax_global_.xattrs.clear();
    return {};
}

Result<Entry> TarReader::make_entry(Header header, char type) {
    const auto chosen = [](const auto& own, const auto& global) { return own ? own : global; };
    const std::optional<std::string> pax_path = chosen(pax_.path, pax_global_.path);
    const std::string raw_path = pax_path ? *pax_path : gnu_name_.value_or(header_name(header));
    Entry entry{.path = TRY(normal_entry_path(raw_path))};
    Attributes& attributes = entry.attributes;
    attributes.mode = static_cast<uint32_t>(
        TRY(number(header, tar::kMode, "mode", 0, std::numeric_limits<int64_t>::max())) & 07777);
    const auto uid = chosen(pax_.uid, pax_global_.uid);
    const auto gid = chosen(pax_.gid, pax_global_.gid);
    const auto mtime = chosen(pax_.mtime, pax_global_.mtime);
    attributes.uid =
        uid ? *uid : static_cast<uint32_t>(TRY(number(header, tar::kUid, "uid", 0, kIdMax)));
    attributes.gid =
        gid ? *gid : static_cast<uint32_t>(TRY(number(header, tar::kGid, "gid", 0, kIdMax)));
    attributes.mtime_s =
        mtime ? mtime->seconds
              : TRY(number(header, tar::kMtime, "mtime", std::numeric_limits<int64_t>::min(),
                           std::numeric_limits<int64_t>::max()));
    attributes.mtime_ns = mtime ? mtime->nanoseconds : 0;
    attributes.xattrs = pax_.xattrs;
    num_dropped_xattrs_ += pax_.num_dropped_xattrs;
    TRY(set_kind(header, type, raw_path.ends_with('/'), entry));
    return entry;
}

Result<void> TarReader::set_kind(Header header, char type, bool has_slash, Entry& entry) {
    switch (type) {
        case '\0':
        case tar::kTypeRegular:
        case tar::kTypeContiguous:
            // Before there was a type for directories, a slash at the end made one.
            entry.kind = has_slash ? EntryKind::kDirectory : EntryKind::kRegular;
            break;
        case tar::kTypeHardLink: entry.kind = EntryKind::kHardLink; break;
        case tar::kTypeSymlink: entry.kind = EntryKind::kSymlink; break;
        case tar::kTypeCharDevice: entry.kind = EntryKind::kCharDevice; break;
        case tar::kTypeBlockDevice: entry.kind = EntryKind::kBlockDevice; break;
        case tar::kTypeDirectory: entry.kind = EntryKind::kDirectory; break;
        case tar::kTypeFifo: entry.kind = EntryKind::kFifo; break;
        case tar::kTypeGnuSparse:
            return make_error(ErrorCode::kUnsupported,
                              "a sparse file; write the archive without --sparse");
        default:
            return make_error(ErrorCode::kUnsupported, "entries of type {:#04x} are not supported",
                              static_cast<unsigned char>(type));
    }
    if (entry.path.empty() && entry.kind != EntryKind::kDirectory)
        return make_error(ErrorCode::kCorrupt, "the root can only be a directory");
    if (entry.kind == EntryKind::kHardLink || entry.kind == EntryKind::kSymlink) {
        const auto& pax_link = pax_.link_path ? pax_.link_path : pax_global_.link_path;
        const std::string raw =
            pax_link ? *pax_link : gnu_link_.value_or(field_text(header, tar::kLinkName));
        if (raw.empty() || raw.size() > kPathBytesMax || raw.find('\0') != std::string::npos)
            return make_error(ErrorCode::kCorrupt, "a link target of {} bytes or with a zero byte",
                              raw.size());
        const bool is_symlink = entry.kind == EntryKind::kSymlink;
        entry.target = is_symlink ? raw : TRY(normal_entry_path(raw));
    }
    if (entry.kind == EntryKind::kCharDevice || entry.kind == EntryKind::kBlockDevice) {
        entry.device_major = static_cast<uint32_t>(
            TRY(number(header, tar::kDeviceMajor, "device major", 0, kDeviceMajorMax)));
        entry.device_minor = static_cast<uint32_t>(
            TRY(number(header, tar::kDeviceMinor, "device minor", 0, kDeviceMinorMax)));
    }
    return {};
}

}  // namespace baleen::sandbox::image
