#include "sandbox/image/erofs_reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/crc32c.h"
#include "base/sha256.h"
#include "sandbox/image/little_endian.h"

namespace baleen::sandbox::image {
namespace {

using erofs::kBlockBytes;

template <typename... Args>
Error corrupt(fmt::format_string<Args...> format, Args&&... args) {
    return make_error(ErrorCode::kCorrupt, format, std::forward<Args>(args)...);
}

std::optional<EntryKind> kind_of_mode(uint16_t mode) {
    switch (mode & S_IFMT) {
        case S_IFREG: return EntryKind::kRegular;
        case S_IFDIR: return EntryKind::kDirectory;
        case S_IFLNK: return EntryKind::kSymlink;
        case S_IFCHR: return EntryKind::kCharDevice;
        case S_IFBLK: return EntryKind::kBlockDevice;
        case S_IFIFO: return EntryKind::kFifo;
        case S_IFSOCK: return EntryKind::kSocket;
        default: return std::nullopt;
    }
}

std::optional<EntryKind> kind_of_dirent(uint8_t type) {
    constexpr EntryKind kKinds[] = {
        EntryKind::kRegular, EntryKind::kDirectory, EntryKind::kCharDevice, EntryKind::kBlockDevice,
        EntryKind::kFifo,    EntryKind::kSocket,    EntryKind::kSymlink};
    if (type < 1 || type > std::size(kKinds)) return std::nullopt;
    return kKinds[type - 1];
}

const char* prefix_of_index(uint8_t index) {
    for (const erofs::XattrPrefix& p : erofs::kXattrPrefixes)
        if (p.index == index) return p.prefix;
    return nullptr;
}

bool is_zero(std::span<const uint8_t> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// The entries of one block of a directory, "." and ".." among them, every name checked.
Result<std::vector<ErofsDirent>> read_dirents(std::span<const uint8_t> block) {
    const auto name_offset_of = [&](size_t i) {
        return size_t{load_le<uint16_t>(block, i * erofs::kDirentBytes + erofs::kDirentNameOffset)};
    };
    if (block.size() < erofs::kDirentBytes) return corrupt("a directory block is too short");
    const size_t names_begin = name_offset_of(0);
    const size_t count = names_begin / erofs::kDirentBytes;
    if (count == 0 || names_begin % erofs::kDirentBytes != 0 || names_begin > block.size())
        return corrupt("a directory block begins its names at {}", names_begin);
    std::vector<ErofsDirent> dirents;
    dirents.reserve(count);
    for (size_t i = 0; i < count; ++i) {
        const size_t begin = name_offset_of(i);
        const size_t end = i + 1 < count ? name_offset_of(i + 1) : block.size();
        if (begin < names_begin || begin > end || end > block.size())
            return corrupt("a directory block has a name from {} to {}", begin, end);
        std::string name(reinterpret_cast<const char*>(block.data()) + begin, end - begin);
        if (i + 1 == count) name.resize(std::min(name.find('\0'), name.size()));  // padding
        const auto dirent = block.subspan(i * erofs::kDirentBytes, erofs::kDirentBytes);
        const auto kind = kind_of_dirent(dirent[erofs::kDirentType]);
        const bool is_dots = name == "." || name == "..";
        const bool is_name = !name.empty() && name.size() <= kNameBytesMax &&
                             name.find('/') == std::string::npos &&
                             name.find('\0') == std::string::npos;
        if (!is_name || !kind || (is_dots && *kind != EntryKind::kDirectory))
            return corrupt("a directory has a bad name, or an entry of type {}",
                           dirent[erofs::kDirentType]);
        dirents.push_back({std::move(name), load_le<uint64_t>(dirent, erofs::kDirentNid), *kind});
    }
    return dirents;
}

}  // namespace

Result<ErofsReader> ErofsReader::open(std::span<const uint8_t> meta) {
    ErofsReader reader;
    reader.meta_ = meta;
    TRY(reader.read_superblock());
    return reader;
}

Result<std::span<const uint8_t>> ErofsReader::bytes_at(uint64_t offset, uint64_t count) const {
    if (offset > meta_.size() || count > meta_.size() - offset)
        return corrupt("{} bytes at {} are outside the {} bytes of metadata", count, offset,
                       meta_.size());
    return meta_.subspan(offset, count);
}

Result<void> ErofsReader::read_superblock() {
    if (meta_.size() < 2 * kBlockBytes || meta_.size() % kBlockBytes != 0)
        return corrupt("metadata of {} bytes, expected two blocks of {} or more", meta_.size(),
                       kBlockBytes);
    const auto super = meta_.subspan(erofs::kSuperOffset, kBlockBytes - erofs::kSuperOffset);
    if (load_le<uint32_t>(super, erofs::kSuperMagic) != erofs::kMagic)
        return corrupt("no EROFS superblock");
    std::vector<uint8_t> covered(super.begin(), super.end());
    store_le(covered, erofs::kSuperChecksum, uint32_t{0});
    if (load_le<uint32_t>(super, erofs::kSuperChecksum) != static_cast<uint32_t>(~crc32c(covered)))
        return corrupt("the superblock's checksum is wrong");
    const auto device = super.subspan(erofs::kSuperBytes);
    const uint64_t blocks = meta_.size() / kBlockBytes;
    const bool is_ours = load_le<uint32_t>(super, erofs::kSuperFeatureCompat) ==
                             (erofs::kCompatChecksum | erofs::kCompatMtime) &&
                         load_le<uint32_t>(super, erofs::kSuperFeatureIncompat) ==
                             (erofs::kIncompatChunkedFile | erofs::kIncompatDeviceTable) &&
                         super[erofs::kSuperBlockBits] == erofs::kBlockBits &&
                         load_le<uint32_t>(super, erofs::kSuperBlocks) == blocks &&
                         load_le<uint16_t>(super, erofs::kSuperExtraDevices) == 1 &&
                         load_le<uint16_t>(super, erofs::kSuperDeviceSlot) ==
                             erofs::kDeviceOffset / erofs::kDeviceSlotBytes &&
                         load_le<uint32_t>(device, erofs::kDeviceStart) == blocks &&
                         is_zero(super.subspan(40, 8)) && is_zero(super.subspan(90, 38)) &&
                         super[13] == 0;
    if (!is_ours) return corrupt("an EROFS of another shape than our layers have");
    root_nid_ = load_le<uint16_t>(super, erofs::kSuperRootNid);
    num_inodes_ = load_le<uint64_t>(super, erofs::kSuperInodes);
    data_blocks_ = load_le<uint32_t>(device, erofs::kDeviceBlocks);
    const auto tag = device.subspan(erofs::kDeviceTag, erofs::kDeviceTagBytes);
    data_digest_.assign(tag.begin(), tag.end());
    if (!parse_sha256(data_digest_)) return corrupt("the device table has no SHA-256 of the data");
    return {};
}

Result<ErofsInode> ErofsReader::inode(uint64_t nid) const {
    if (nid > meta_.size() / erofs::kSlotBytes)
        return corrupt("inode {} is outside the metadata", nid);
    const uint64_t offset = nid * erofs::kSlotBytes;
    const auto at = TRY(bytes_at(offset, erofs::kInodeBytes));
    if (offset < kBlockBytes || offset % kBlockBytes + erofs::kInodeBytes > kBlockBytes)
        return corrupt("inode {} lies where none can be", nid);
    const auto format = load_le<uint16_t>(at, erofs::kInodeFormat);
    const auto mode = load_le<uint16_t>(at, erofs::kInodeMode);
    const std::optional<EntryKind> kind = kind_of_mode(mode);
    if ((format & ~0x0e) != erofs::kExtendedInode || !kind)
        return corrupt("inode {} has format {} and mode {:o}", nid, format, mode);
    ErofsInode inode{.nid = nid, .kind = *kind};
    inode.attributes = {.mode = mode & 07777U,
                        .uid = load_le<uint32_t>(at, erofs::kInodeUid),
                        .gid = load_le<uint32_t>(at, erofs::kInodeGid),
                        .mtime_s = load_le<int64_t>(at, erofs::kInodeMtime),
                        .mtime_ns = load_le<uint32_t>(at, erofs::kInodeMtimeNs)};
    if (inode.attributes.mtime_ns > 999'999'999)
        return corrupt("inode {} has a time of {} ns", nid, inode.attributes.mtime_ns);
    inode.size = load_le<uint64_t>(at, erofs::kInodeSize);
    inode.num_links = load_le<uint32_t>(at, erofs::kInodeLinks);
    inode.layout = static_cast<erofs::Layout>(format >> 1);
    const size_t count = load_le<uint16_t>(at, erofs::kInodeXattrCount);
    const size_t xattr_bytes = count == 0 ? 0 : erofs::kXattrHeaderBytes + 4 * (count - 1);
    TRY(read_xattrs(inode, offset + erofs::kInodeBytes, xattr_bytes));
    inode.content_offset = offset + erofs::kInodeBytes + xattr_bytes;
    TRY(read_layout(inode, load_le<uint32_t>(at, erofs::kInodeUnion)));
    inode.meta_bytes =
        erofs::kInodeBytes + xattr_bytes +
        (inode.num_chunks > 0 ? inode.num_chunks * erofs::kChunkIndexBytes : inode.size);
    return inode;
}

Result<void> ErofsReader::read_layout(ErofsInode& inode, uint32_t union_field) const {
    const bool has_content =
        inode.kind == EntryKind::kDirectory || inode.kind == EntryKind::kSymlink;
    const bool is_chunked = inode.kind == EntryKind::kRegular && inode.size > 0;
    const bool fits = is_chunked    ? inode.layout == erofs::Layout::kChunks
                      : has_content ? inode.layout == erofs::Layout::kInline ||
                                          inode.layout == erofs::Layout::kPlain
                                    : inode.layout == erofs::Layout::kPlain && inode.size == 0;
    if (!fits)
        return corrupt("inode {}: a {} of {} bytes in layout {}", inode.nid, kind_name(inode.kind),
                       inode.size, static_cast<unsigned>(inode.layout));
    if (is_chunked) {
        if (union_field != erofs::kChunkFormat)
            return corrupt("inode {} has chunk format {:#x}", inode.nid, union_field);
        inode.num_chunks = erofs::chunks_of(inode.size);
        inode.content_offset = erofs::round_up(inode.content_offset, erofs::kChunkIndexBytes);
        if (inode.num_chunks > meta_.size() / erofs::kChunkIndexBytes)
            return corrupt("inode {}: {} chunks are more than the metadata can hold", inode.nid,
                           inode.num_chunks);
        TRY(bytes_at(inode.content_offset, inode.num_chunks * erofs::kChunkIndexBytes));
    } else if (has_content) {
        if (inode.size > meta_.size())
            return corrupt("inode {}: {} bytes are more than the metadata", inode.nid, inode.size);
        inode.block = union_field;
    } else {
        inode.device_major = union_field >> 8 & kDeviceMajorMax;
        inode.device_minor = (union_field & 0xff) | (union_field >> 12 & 0xfff00);
    }
    return {};
}

Result<void> ErofsReader::read_xattrs(ErofsInode& inode, uint64_t offset, size_t count) const {
    if (count == 0) return {};
    auto rest = TRY(bytes_at(offset, count));
    if (!is_zero(rest.first(erofs::kXattrHeaderBytes)))
        return corrupt("inode {}: attributes of another shape than ours", inode.nid);
    rest = rest.subspan(erofs::kXattrHeaderBytes);
    while (!rest.empty()) {
        const size_t name_bytes = rest[0];
        const size_t value_bytes = load_le<uint16_t>(rest, 2);
        const size_t bytes = erofs::kXattrEntryBytes + name_bytes + value_bytes;
        const char* prefix = prefix_of_index(rest[1]);
        if (prefix == nullptr || erofs::round_up(bytes, 4) > rest.size())
            return corrupt("inode {}: an attribute runs over the end or has no prefix", inode.nid);
        const auto text = [&](size_t from, size_t n) {
            return std::string(reinterpret_cast<const char*>(rest.data()) + from, n);
        };
        Xattr xattr{prefix + text(erofs::kXattrEntryBytes, name_bytes),
                    text(erofs::kXattrEntryBytes + name_bytes, value_bytes)};
        auto& xattrs = inode.attributes.xattrs;
        const bool is_ours = is_kept_xattr(xattr.name) || xattr.name == kOriginXattr;
        if (!is_ours || xattr.name.find('\0') != std::string::npos)
            return corrupt("inode {}: an attribute that no layer has", inode.nid);
        if (!xattrs.empty() && xattrs.back().name >= xattr.name)
            return corrupt("inode {}: attributes out of order", inode.nid);
        xattrs.push_back(std::move(xattr));
        rest = rest.subspan(erofs::round_up(bytes, 4));
    }
    return {};
}

// Block `idx` of a directory or symlink; the last one may be shorter.
Result<std::span<const uint8_t>> ErofsReader::content_block(const ErofsInode& inode,
                                                            uint64_t idx) const {
    CHECK_LT(idx, erofs::blocks_of(inode.size));
    const uint64_t bytes = std::min<uint64_t>(inode.size - idx * kBlockBytes, kBlockBytes);
    const bool is_inline =
        inode.layout == erofs::Layout::kInline && idx + 1 == erofs::blocks_of(inode.size);
    const uint64_t at = is_inline ? inode.content_offset : (inode.block + idx) * kBlockBytes;
    if (at % kBlockBytes + bytes > kBlockBytes)
        return corrupt("inode {}: inline bytes cross a block", inode.nid);
    return bytes_at(at, bytes);
}

Result<ErofsDirectory> ErofsReader::directory(const ErofsInode& inode) const {
    if (inode.kind != EntryKind::kDirectory)
        return corrupt("inode {} is a {}, expected a directory", inode.nid, kind_name(inode.kind));
    ErofsDirectory directory;
    uint64_t self_nid = UINT64_MAX;
    directory.parent_nid = UINT64_MAX;
    std::string last_name;
    for (uint64_t i = 0; i < erofs::blocks_of(inode.size); ++i) {
        std::vector<ErofsDirent> dirents = TRY(read_dirents(TRY(content_block(inode, i))));
        for (ErofsDirent& dirent : dirents) {
            if (dirent.name <= last_name) return corrupt("a directory has names out of order");
            last_name = dirent.name;
            if (dirent.name == ".")
                self_nid = dirent.nid;
            else if (dirent.name == "..")
                directory.parent_nid = dirent.nid;
            else
                directory.entries.push_back(std::move(dirent));
        }
    }
    if (self_nid != inode.nid || directory.parent_nid == UINT64_MAX)
        return corrupt("directory {} has wrong '.' or '..' entries", inode.nid);
    return directory;
}

Result<std::optional<ErofsDirent>> ErofsReader::lookup(const ErofsInode& directory,
                                                       std::string_view name) const {
    uint64_t begin = 0;  // the name is in a block of [begin, end), if anywhere
    uint64_t end = erofs::blocks_of(directory.size);
    while (begin < end) {
        const uint64_t middle = begin + (end - begin) / 2;
        const std::vector<ErofsDirent> dirents =
            TRY(read_dirents(TRY(content_block(directory, middle))));
        const auto found = std::lower_bound(
            dirents.begin(), dirents.end(), name,
            [](const ErofsDirent& dirent, std::string_view n) { return dirent.name < n; });
        if (found != dirents.end() && found->name == name)
            return std::optional<ErofsDirent>(*found);
        if (found == dirents.begin())
            end = middle;
        else if (found == dirents.end())
            begin = middle + 1;
        else
            break;
    }
    return std::optional<ErofsDirent>();
}

Result<std::string> ErofsReader::symlink_target(const ErofsInode& inode) const {
    std::string target;
    if (inode.size == 0 || inode.size > kPathBytesMax)
        return corrupt("inode {}: a symlink of {} bytes", inode.nid, inode.size);
    const auto block = TRY(content_block(inode, 0));
    target.append(block.begin(), block.end());
    if (target.find('\0') != std::string::npos)
        return corrupt("inode {}: a symlink with a zero byte", inode.nid);
    return target;
}

Result<std::optional<uint64_t>> ErofsReader::chunk_offset(const ErofsInode& inode,
                                                          uint64_t chunk_idx) const {
    CHECK_LT(chunk_idx, inode.num_chunks);
    const auto at = TRY(bytes_at(inode.content_offset + chunk_idx * erofs::kChunkIndexBytes,
                                 erofs::kChunkIndexBytes));
    const auto high = load_le<uint16_t>(at, 0);
    const auto device = load_le<uint16_t>(at, erofs::kChunkDevice);
    const auto block = load_le<uint32_t>(at, erofs::kChunkBlock);
    if (high == 0 && device == 0 && block == UINT32_MAX) return std::optional<uint64_t>();
    const uint64_t bytes =
        std::min<uint64_t>(erofs::kChunkBytes, inode.size - chunk_idx * erofs::kChunkBytes);
    if (high != 0 || device != erofs::kDataDevice || block + erofs::blocks_of(bytes) > data_blocks_)
        return corrupt("inode {}: chunk {} is at block {} of device {}, data has {} blocks",
                       inode.nid, chunk_idx, block, device, data_blocks_);
    return std::optional<uint64_t>(uint64_t{block} * kBlockBytes);
}

Result<std::optional<ErofsInode>> ErofsReader::find(std::string_view path) const {
    ErofsInode at = TRY(inode(root_nid_));
    while (!path.empty()) {
        if (at.kind != EntryKind::kDirectory) return std::optional<ErofsInode>();
        const size_t end = std::min(path.find('/'), path.size());
        const std::string_view name = path.substr(0, end);
        const std::optional<ErofsDirent> found = TRY(lookup(at, name));
        if (!found) return std::optional<ErofsInode>();
        at = TRY(inode(found->nid));
        path.remove_prefix(std::min(end + 1, path.size()));
    }
    return std::optional<ErofsInode>(std::move(at));
}

}  // namespace baleen::sandbox::image
