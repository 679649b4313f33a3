#include "sandbox/image/erofs_writer.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/crc32c.h"
#include "sandbox/image/erofs_format.h"
#include "sandbox/image/little_endian.h"

namespace baleen::sandbox::image {
namespace {

using erofs::kBlockBytes;

constexpr uint32_t kNoPlace = std::numeric_limits<uint32_t>::max();

uint16_t mode_bits(EntryKind kind) {
    switch (kind) {
        case EntryKind::kRegular: return S_IFREG;
        case EntryKind::kDirectory: return S_IFDIR;
        case EntryKind::kSymlink: return S_IFLNK;
        case EntryKind::kCharDevice: return S_IFCHR;
        case EntryKind::kBlockDevice: return S_IFBLK;
        case EntryKind::kFifo: return S_IFIFO;
        case EntryKind::kSocket: return S_IFSOCK;
        case EntryKind::kHardLink: break;
    }
    CHECK(kind != EntryKind::kHardLink);
    return 0;
}

// The type byte of a directory entry; the numbers of the kernel's FT_* constants.
uint8_t dirent_type(EntryKind kind) {
    switch (kind) {
        case EntryKind::kRegular: return 1;
        case EntryKind::kDirectory: return 2;
        case EntryKind::kCharDevice: return 3;
        case EntryKind::kBlockDevice: return 4;
        case EntryKind::kFifo: return 5;
        case EntryKind::kSocket: return 6;
        case EntryKind::kSymlink: return 7;
        case EntryKind::kHardLink: break;
    }
    CHECK(kind != EntryKind::kHardLink);
    return 0;
}

struct XattrName {
    uint8_t index;
    std::string_view rest;
};

XattrName split_name(std::string_view name) {
    for (const erofs::XattrPrefix& p : erofs::kXattrPrefixes)
        if (name.starts_with(p.prefix))
            return {p.index, name.substr(std::string_view(p.prefix).size())};
    CHECK(false);  // is_kept_xattr lets no other name in
    return {};
}

Result<size_t> xattr_area_bytes(const std::vector<Xattr>& xattrs) {
    if (xattrs.empty()) return 0;
    size_t bytes = erofs::kXattrHeaderBytes;
    for (const Xattr& xattr : xattrs) {
        const size_t name_bytes = split_name(xattr.name).rest.size();
        if (name_bytes > erofs::kXattrNameBytesMax ||
            xattr.value.size() > erofs::kXattrValueBytesMax)
            return make_error(ErrorCode::kExhausted,
                              "attribute {} has a value of {} bytes, at most {} are possible",
                              xattr.name.substr(0, 80), xattr.value.size(),
                              erofs::kXattrValueBytesMax);
        bytes += erofs::round_up(erofs::kXattrEntryBytes + name_bytes + xattr.value.size(), 4);
    }
    if (bytes > erofs::kXattrAreaBytesMax)
        return make_error(ErrorCode::kExhausted,
                          "attributes of {} bytes on one file, at most {} are possible", bytes,
                          erofs::kXattrAreaBytesMax);
    return bytes;
}

struct DirentSource {
    std::string_view name;
    InodeIdx inode;
};

// One block of a directory: entries [begin, end), and the bytes they take.
struct DirentBlock {
    size_t begin;
    size_t end;
    size_t bytes;
};

std::vector<DirentBlock> split_into_blocks(const std::vector<DirentSource>& entries) {
    std::vector<DirentBlock> blocks;
    for (size_t i = 0; i < entries.size(); ++i) {
        const size_t bytes = erofs::kDirentBytes + entries[i].name.size();
        if (blocks.empty() || blocks.back().bytes + bytes > kBlockBytes)
            blocks.push_back({i, i, 0});
        blocks.back().end = i + 1;
        blocks.back().bytes += bytes;
    }
    return blocks;
}

// Where an inode and what belongs to it goes in .meta.
struct Place {
    uint64_t offset = 0;  // of the inode; offset / 32 is its number
    uint64_t size = 0;    // i_size
    size_t xattr_bytes = 0;
    size_t inline_bytes = 0;  // of a directory's last block or a symlink, behind the attributes
    uint64_t block = 0;       // first of its own blocks
    uint64_t num_blocks = 0;  // its own blocks: a directory but its inline tail, a long symlink
    uint32_t num_links = 0;
    InodeIdx parent = LayerTree::kRoot;  // of a directory
    erofs::Layout layout = erofs::Layout::kPlain;
};

class MetaWriter {
  public:
    MetaWriter(const LayerTree& tree, const DataDevice& data)
        : tree_(tree), data_(data), place_of_(tree.num_inodes(), kNoPlace) {}

    Result<std::vector<uint8_t>> write() {
        number_inodes();
        TRY(lay_out());
        for (size_t i = 0; i < order_.size(); ++i) emit(order_[i], places_[i]);
        emit_superblock();
        return std::move(bytes_);
    }

  private:
    // Inodes in the order of their numbers: the children of a directory stand together, in the
    // order of their names, so that listing one with its attributes reads neighbouring blocks.
    void number_inodes() {
        add(LayerTree::kRoot);
        places_[0].num_links = 2;
        std::vector<InodeIdx> waiting = {LayerTree::kRoot};
        while (!waiting.empty()) {
            const InodeIdx at = waiting.back();
            waiting.pop_back();
            const auto& children = tree_.directory(tree_.inode(at)).children;
            for (const auto& [name, child] : children) add_child(at, child);
            // The first directory by name is taken up next.
            for (auto child = children.rbegin(); child != children.rend(); ++child)
                if (tree_.inode(child->second).kind == EntryKind::kDirectory)
                    waiting.push_back(child->second);
        }
    }

    void add(InodeIdx idx) {
        place_of_[idx] = static_cast<uint32_t>(order_.size());
        order_.push_back(idx);
        places_.emplace_back();
    }

    void add_child(InodeIdx parent, InodeIdx child) {
        if (place_of_[child] == kNoPlace) add(child);
        Place& place = places_[place_of_[child]];
        ++place.num_links;
        if (tree_.inode(child).kind != EntryKind::kDirectory) return;
        ++place.num_links;  // its own "."
        place.parent = parent;
        ++places_[place_of_[parent]].num_links;  // and its ".."
    }

    Result<void> lay_out() {
        uint64_t at = kBlockBytes;
        for (size_t i = 0; i < order_.size(); ++i) {
            const TreeInode& inode = tree_.inode(order_[i]);
            Place& place = places_[i];
            place.xattr_bytes = TRY(xattr_area_bytes(inode.attributes.xattrs));
            choose_layout(order_[i], place);
            at = put_inode(at, inode, place);
        }
        uint64_t block = erofs::blocks_of(at);
        for (Place& place : places_) {
            place.block = place.num_blocks > 0 ? block : 0;
            block += place.num_blocks;
        }
        if (block + data_.blocks > std::numeric_limits<uint32_t>::max())
            return make_error(ErrorCode::kExhausted, "the layer has more than 2^32 blocks");
        bytes_.resize(block * kBlockBytes);
        return {};
    }

    void choose_layout(InodeIdx idx, Place& place) const {
        const TreeInode& inode = tree_.inode(idx);
        if (inode.kind == EntryKind::kRegular) {
            place.size = inode.size;
            if (inode.size > 0) place.layout = erofs::Layout::kChunks;
        } else if (inode.kind == EntryKind::kSymlink) {
            place.size = inode.target.size();
            set_tail(place, inode.target.size());
        } else if (inode.kind == EntryKind::kDirectory) {
            const std::vector<DirentBlock> blocks = split_into_blocks(dirents_of(idx, place));
            place.num_blocks = blocks.size() - 1;
            place.size = place.num_blocks * kBlockBytes + blocks.back().bytes;
            set_tail(place, blocks.back().bytes);
        }
    }

    // The kernel wants inline bytes in one block with their inode. Where they do not fit into any,
    // they get a block of their own.
    static void set_tail(Place& place, size_t bytes) {
        if (erofs::kInodeBytes + place.xattr_bytes + bytes <= kBlockBytes) {
            place.layout = erofs::Layout::kInline;
            place.inline_bytes = bytes;
        } else {
            ++place.num_blocks;
        }
    }

    // Places the inode at or behind `at`; returns the first free byte behind it.
    static uint64_t put_inode(uint64_t at, const TreeInode& inode, Place& place) {
        const size_t head = erofs::kInodeBytes + place.xattr_bytes;
        const size_t together =
            place.layout == erofs::Layout::kInline ? head + place.inline_bytes : erofs::kInodeBytes;
        at = erofs::round_up(at, erofs::kSlotBytes);
        if (at % kBlockBytes + together > kBlockBytes) at = erofs::round_up(at, kBlockBytes);
        place.offset = at;
        if (place.layout == erofs::Layout::kChunks)
            return erofs::round_up(at + head, erofs::kChunkIndexBytes) +
                   uint64_t{inode.num_chunks} * erofs::kChunkIndexBytes;
        return at + head + place.inline_bytes;
    }

    // The entries of a directory with "." and "..", sorted by bytes as the kernel searches them.
    std::vector<DirentSource> dirents_of(InodeIdx idx, const Place& place) const {
        const auto& children = tree_.directory(tree_.inode(idx)).children;
        std::vector<DirentSource> entries;
        entries.reserve(children.size() + 2);
        entries.push_back({".", idx});
        entries.push_back({"..", place.parent});
        for (const auto& [name, child] : children) entries.push_back({name, child});
        std::sort(entries.begin(), entries.end(),
                  [](const DirentSource& a, const DirentSource& b) { return a.name < b.name; });
        return entries;
    }

    std::span<uint8_t> bytes_at(uint64_t offset) { return std::span(bytes_).subspan(offset); }
    uint64_t nid_of(InodeIdx idx) const {
        return places_[place_of_[idx]].offset / erofs::kSlotBytes;
    }

    void emit(InodeIdx idx, const Place& place) {
        const TreeInode& inode = tree_.inode(idx);
        const std::span<uint8_t> at = bytes_at(place.offset);
        const Attributes& attributes = inode.attributes;
        store_le(at, erofs::kInodeFormat,
                 static_cast<uint16_t>(erofs::kExtendedInode | static_cast<unsigned>(place.layout)
                                                                   << 1));
        const size_t xattr_count =
            place.xattr_bytes == 0 ? 0 : (place.xattr_bytes - erofs::kXattrHeaderBytes) / 4 + 1;
        store_le(at, erofs::kInodeXattrCount, static_cast<uint16_t>(xattr_count));
        store_le(at, erofs::kInodeMode,
                 static_cast<uint16_t>(mode_bits(inode.kind) | (attributes.mode & 07777)));
        store_le(at, erofs::kInodeSize, place.size);
        store_le(at, erofs::kInodeUnion, union_field(inode, place));
        store_le(at, erofs::kInodeIno, place_of_[idx] + 1);
        store_le(at, erofs::kInodeUid, attributes.uid);
        store_le(at, erofs::kInodeGid, attributes.gid);
        store_le(at, erofs::kInodeMtime, attributes.mtime_s);
        store_le(at, erofs::kInodeMtimeNs, attributes.mtime_ns);
        store_le(at, erofs::kInodeLinks, place.num_links);
        emit_xattrs(attributes.xattrs, place.offset + erofs::kInodeBytes);
        emit_content(idx, place);
    }

    static uint32_t union_field(const TreeInode& inode, const Place& place) {
        if (place.layout == erofs::Layout::kChunks) return erofs::kChunkFormat;
        if (inode.kind == EntryKind::kCharDevice || inode.kind == EntryKind::kBlockDevice)
            return (inode.device_minor & 0xff) | inode.device_major << 8 |
                   (inode.device_minor & ~uint32_t{0xff}) << 12;
        return static_cast<uint32_t>(place.block);
    }

    void emit_xattrs(const std::vector<Xattr>& xattrs, uint64_t offset) {
        offset += erofs::kXattrHeaderBytes;  // all zero: no filter, nothing shared
        for (const Xattr& xattr : xattrs) {
            const XattrName name = split_name(xattr.name);
            const std::span<uint8_t> at = bytes_at(offset);
            at[0] = static_cast<uint8_t>(name.rest.size());
            at[1] = name.index;
            store_le(at, 2, static_cast<uint16_t>(xattr.value.size()));
            const auto end =
                std::copy(name.rest.begin(), name.rest.end(), at.begin() + erofs::kXattrEntryBytes);
            std::copy(xattr.value.begin(), xattr.value.end(), end);
            offset +=
                erofs::round_up(erofs::kXattrEntryBytes + name.rest.size() + xattr.value.size(), 4);
        }
    }

    void emit_content(InodeIdx idx, const Place& place) {
        const TreeInode& inode = tree_.inode(idx);
        const uint64_t behind = place.offset + erofs::kInodeBytes + place.xattr_bytes;
        if (inode.kind == EntryKind::kRegular) {
            emit_chunks(inode, erofs::round_up(behind, erofs::kChunkIndexBytes));
        } else if (inode.kind == EntryKind::kSymlink) {
            const bool is_inline = place.layout == erofs::Layout::kInline;
            const auto at = bytes_at(is_inline ? behind : place.block * kBlockBytes);
            std::copy(inode.target.begin(), inode.target.end(), at.begin());
        } else if (inode.kind == EntryKind::kDirectory) {
            emit_directory(idx, place, behind);
        }
    }

    void emit_chunks(const TreeInode& inode, uint64_t offset) {
        for (uint32_t i = 0; i < inode.num_chunks; ++i) {
            const uint32_t block = tree_.chunks[inode.first_chunk + i];
            CHECK(block == kHoleBlock || block < data_.blocks);
            const auto at = bytes_at(offset + uint64_t{i} * erofs::kChunkIndexBytes);
            store_le(at, erofs::kChunkDevice,
                     block == kHoleBlock ? uint16_t{0} : erofs::kDataDevice);
            store_le(at, erofs::kChunkBlock, block);
        }
    }

    void emit_directory(InodeIdx idx, const Place& place, uint64_t behind) {
        const std::vector<DirentSource> entries = dirents_of(idx, place);
        const std::vector<DirentBlock> blocks = split_into_blocks(entries);
        for (size_t b = 0; b < blocks.size(); ++b) {
            const bool is_own = b < place.num_blocks;
            const auto at = bytes_at(is_own ? (place.block + b) * kBlockBytes : behind);
            const size_t count = blocks[b].end - blocks[b].begin;
            emit_dirents(std::span(entries).subspan(blocks[b].begin, count), at);
        }
    }

    void emit_dirents(std::span<const DirentSource> entries, std::span<uint8_t> at) {
        size_t name_offset = entries.size() * erofs::kDirentBytes;
        for (size_t i = 0; i < entries.size(); ++i) {
            const auto dirent = at.subspan(i * erofs::kDirentBytes);
            store_le(dirent, erofs::kDirentNid, nid_of(entries[i].inode));
            store_le(dirent, erofs::kDirentNameOffset, static_cast<uint16_t>(name_offset));
            dirent[erofs::kDirentType] = dirent_type(tree_.inode(entries[i].inode).kind);
            std::copy(entries[i].name.begin(), entries[i].name.end(),
                      at.begin() + static_cast<std::ptrdiff_t>(name_offset));
            name_offset += entries[i].name.size();
        }
    }

    // The newest time in the layer: what a build time can say that the input decides alone.
    uint64_t newest_mtime() const {
        int64_t newest = 0;
        for (const InodeIdx idx : order_)
            newest = std::max(newest, tree_.inode(idx).attributes.mtime_s);
        return static_cast<uint64_t>(newest);
    }

    void emit_superblock() {
        const auto meta_blocks = static_cast<uint32_t>(bytes_.size() / kBlockBytes);
        const auto at = bytes_at(erofs::kSuperOffset);
        store_le(at, erofs::kSuperMagic, erofs::kMagic);
        store_le(at, erofs::kSuperFeatureCompat, erofs::kCompatChecksum | erofs::kCompatMtime);
        at[erofs::kSuperBlockBits] = erofs::kBlockBits;
        store_le(at, erofs::kSuperRootNid, static_cast<uint16_t>(nid_of(LayerTree::kRoot)));
        store_le(at, erofs::kSuperInodes, uint64_t{order_.size()});
        store_le(at, erofs::kSuperBuildTime, newest_mtime());
        store_le(at, erofs::kSuperBlocks, meta_blocks);
        store_le(at, erofs::kSuperFeatureIncompat,
                 erofs::kIncompatChunkedFile | erofs::kIncompatDeviceTable);
        store_le(at, erofs::kSuperExtraDevices, uint16_t{1});
        store_le(at, erofs::kSuperDeviceSlot,
                 static_cast<uint16_t>(erofs::kDeviceOffset / erofs::kDeviceSlotBytes));
        const auto slot = bytes_at(erofs::kDeviceOffset);
        const std::string tag = hex(data_.digest);
        CHECK_EQ(tag.size(), erofs::kDeviceTagBytes);
        std::copy(tag.begin(), tag.end(), slot.begin() + erofs::kDeviceTag);
        store_le(slot, erofs::kDeviceBlocks, data_.blocks);
        store_le(slot, erofs::kDeviceStart, meta_blocks);
        seal();
    }

    // UUID and checksum come last, from all the other bytes.
    void seal() {
        const auto at = bytes_at(erofs::kSuperOffset);
        const Sha256Digest digest = sha256(std::span<const uint8_t>(bytes_));
        const auto uuid = at.subspan(erofs::kSuperUuid, erofs::kUuidBytes);
        std::copy_n(digest.begin(), uuid.size(), uuid.begin());
        uuid[6] = static_cast<uint8_t>((uuid[6] & 0x0f) | 0x80);  // version 8: made by own rules
        uuid[8] = static_cast<uint8_t>((uuid[8] & 0x3f) | 0x80);
        const auto covered = at.first(kBlockBytes - erofs::kSuperOffset);
        // The kernel's crc32c(~0, ...) leaves out the final complement.
        store_le(at, erofs::kSuperChecksum, ~crc32c(covered));
    }

    const LayerTree& tree_;
    const DataDevice& data_;
    std::vector<InodeIdx> order_;     // inodes in the order of their numbers
    std::vector<Place> places_;       // of order_
    std::vector<uint32_t> place_of_;  // by InodeIdx
    std::vector<uint8_t> bytes_;      // the file
};

}  // namespace

Result<std::vector<uint8_t>> write_erofs_meta(const LayerTree& tree, const DataDevice& data) {
    return MetaWriter(tree, data).write();
}

}  // namespace baleen::sandbox::image
