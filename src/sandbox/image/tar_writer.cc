#include "sandbox/image/tar_writer.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/check.h"
#include "sandbox/image/pax.h"
#include "sandbox/image/tar_format.h"

namespace baleen::sandbox::image {
namespace {

using tar::kBlockBytes;
using Block = std::array<uint8_t, kBlockBytes>;

constexpr uint64_t kIdFieldMax = 07777777;        // 7 octal digits
constexpr uint64_t kSizeFieldMax = 077777777777;  // 11
constexpr std::array<uint8_t, 64 << 10> kZeros = {};

char type_of(EntryKind kind) {
    switch (kind) {
        case EntryKind::kRegular: return tar::kTypeRegular;
        case EntryKind::kDirectory: return tar::kTypeDirectory;
        case EntryKind::kSymlink: return tar::kTypeSymlink;
        case EntryKind::kHardLink: return tar::kTypeHardLink;
        case EntryKind::kCharDevice: return tar::kTypeCharDevice;
        case EntryKind::kBlockDevice: return tar::kTypeBlockDevice;
        case EntryKind::kFifo: return tar::kTypeFifo;
        case EntryKind::kSocket: break;
    }
    CHECK(kind != EntryKind::kSocket);
    return 0;
}

void put_text(Block& block, tar::Field field, std::string_view text) {
    std::copy_n(text.begin(), std::min(text.size(), field.bytes),
                block.begin() + static_cast<std::ptrdiff_t>(field.offset));
}

// Zero-padded octal digits and a zero byte; 0 where a pax record has the number.
void put_number(Block& block, tar::Field field, uint64_t value, uint64_t max) {
    put_text(block, field, fmt::format("{:0{}o}", value <= max ? value : 0, field.bytes - 1));
}

void put_checksum(Block& block) {
    put_text(block, tar::kChecksum, "        ");
    uint64_t sum = 0;
    for (const uint8_t byte : block) sum += byte;
    put_text(block, tar::kChecksum,
             std::string_view(fmt::format("{:06o}", sum) + '\0').substr(0, 7));
}

std::string shown_path(const Entry& entry) {
    if (entry.path.empty()) return "./";
    return entry.kind == EntryKind::kDirectory ? entry.path + "/" : entry.path;
}

std::string pax_records(const Entry& entry) {
    const Attributes& attributes = entry.attributes;
    std::string records;
    const std::string path = shown_path(entry);
    if (path.size() > tar::kName.bytes) records += pax_record("path", path);
    if (entry.target.size() > tar::kLinkName.bytes) records += pax_record("linkpath", entry.target);
    if (attributes.uid > kIdFieldMax) records += pax_record("uid", std::to_string(attributes.uid));
    if (attributes.gid > kIdFieldMax) records += pax_record("gid", std::to_string(attributes.gid));
    if (entry.size > kSizeFieldMax) records += pax_record("size", std::to_string(entry.size));
    const bool fits = attributes.mtime_s >= 0 && attributes.mtime_ns == 0 &&
                      static_cast<uint64_t>(attributes.mtime_s) <= kSizeFieldMax;
    if (!fits)
        records += pax_record("mtime", pax_time_text({attributes.mtime_s, attributes.mtime_ns}));
    for (const Xattr& xattr : attributes.xattrs)
        records += pax_record(std::string(tar::kPaxXattr) + xattr.name, xattr.value);
    return records;
}

Block header_of(const Entry& entry, char type, const std::string& path, uint64_t size) {
    const Attributes& attributes = entry.attributes;
    Block block{};
    put_text(block, tar::kName, path);
    put_number(block, tar::kMode, attributes.mode & 07777, 07777);
    put_number(block, tar::kUid, attributes.uid, kIdFieldMax);
    put_number(block, tar::kGid, attributes.gid, kIdFieldMax);
    put_number(block, tar::kSize, size, kSizeFieldMax);
    put_number(block, tar::kMtime, static_cast<uint64_t>(std::max<int64_t>(attributes.mtime_s, 0)),
               kSizeFieldMax);
    block[tar::kType.offset] = static_cast<uint8_t>(type);
    put_text(block, tar::kMagic, tar::kUstarMagic);
    return block;
}

}  // namespace

Result<void> TarWriter::write_pax(const Entry& entry) {
    const std::string records = pax_records(entry);
    if (records.empty()) return {};
    Block block = header_of({}, tar::kTypePax, "pax", records.size());
    put_checksum(block);
    TRY(sink_.write(block));
    TRY(sink_.write({reinterpret_cast<const uint8_t*>(records.data()), records.size()}));
    const size_t padding = (kBlockBytes - records.size() % kBlockBytes) % kBlockBytes;
    return sink_.write(std::span(kZeros).first(padding));
}

Result<void> TarWriter::write_header(const Entry& entry) {
    Block block = header_of(entry, type_of(entry.kind), shown_path(entry), entry.size);
    put_text(block, tar::kLinkName, entry.target);
    put_number(block, tar::kDeviceMajor, entry.device_major, kIdFieldMax);
    put_number(block, tar::kDeviceMinor, entry.device_minor, kIdFieldMax);
    put_checksum(block);
    return sink_.write(block);
}

Result<void> TarWriter::add(const Entry& entry) {
    TRY(end_file());
    if (entry.kind == EntryKind::kSocket)
        return make_error(ErrorCode::kUnsupported, "{}: tar has no sockets", entry.path);
    CHECK(entry.kind == EntryKind::kRegular || entry.size == 0);
    TRY(write_pax(entry));
    TRY(write_header(entry));
    content_left_ = entry.size;
    padding_left_ = (kBlockBytes - entry.size % kBlockBytes) % kBlockBytes;
    return {};
}

Result<void> TarWriter::append(std::span<const uint8_t> bytes) {
    CHECK_LE(bytes.size(), content_left_);
    content_left_ -= bytes.size();
    return sink_.write(bytes);
}

Result<void> TarWriter::append_zeros(uint64_t bytes) {
    while (bytes > 0) {
        const size_t n = std::min<uint64_t>(bytes, kZeros.size());
        TRY(append(std::span(kZeros).first(n)));
        bytes -= n;
    }
    return {};
}

Result<void> TarWriter::end_file() {
    CHECK_EQ(content_left_, uint64_t{0});
    const size_t padding = padding_left_;
    padding_left_ = 0;
    return padding == 0 ? Result<void>() : sink_.write(std::span(kZeros).first(padding));
}

Result<void> TarWriter::finish() {
    TRY(end_file());
    return sink_.write(std::span(kZeros).first(2 * kBlockBytes));
}

}  // namespace baleen::sandbox::image
