// The part of the EROFS on-disk format that our layers use; docs/formats.md has the byte tables.
// Two devices: .meta is the primary one, .data is device 1. Blocks are 4 KiB, chunks 1 MiB, inodes
// are the 64-byte form, nothing is compressed or shared.
#pragma once

#include <cstddef>
#include <cstdint>

namespace baleen::sandbox::image::erofs {

inline constexpr uint32_t kMagic = 0xE0F5E1E2;
inline constexpr size_t kBlockBits = 12;
inline constexpr size_t kBlockBytes = size_t{1} << kBlockBits;
inline constexpr size_t kChunkBits = 20;
inline constexpr size_t kChunkBytes = size_t{1} << kChunkBits;
inline constexpr size_t kSlotBytes = 32;  // an inode number counts these from the start of .meta

// Superblock: 128 bytes at 1024; offsets inside it.
inline constexpr size_t kSuperOffset = 1024;
inline constexpr size_t kSuperBytes = 128;
inline constexpr size_t kSuperMagic = 0;
inline constexpr size_t kSuperChecksum = 4;  // CRC-32C of the block from 1024 on, this field zero
inline constexpr size_t kSuperFeatureCompat = 8;
inline constexpr size_t kSuperBlockBits = 12;
inline constexpr size_t kSuperRootNid = 14;  // 16 bits: the root comes first
inline constexpr size_t kSuperInodes = 16;
inline constexpr size_t kSuperBuildTime = 24;
inline constexpr size_t kSuperBlocks = 36;
inline constexpr size_t kSuperUuid = 48;
inline constexpr size_t kUuidBytes = 16;
inline constexpr size_t kSuperFeatureIncompat = 80;
inline constexpr size_t kSuperExtraDevices = 86;
inline constexpr size_t kSuperDeviceSlot = 88;  // where the device table is, in units of 128 bytes

inline constexpr uint32_t kCompatChecksum = 1;
inline constexpr uint32_t kCompatMtime = 2;
inline constexpr uint32_t kIncompatChunkedFile = 4;
inline constexpr uint32_t kIncompatDeviceTable = 8;

// Device table: one slot of 128 bytes behind the superblock.
inline constexpr size_t kDeviceOffset = kSuperOffset + kSuperBytes;
inline constexpr size_t kDeviceSlotBytes = 128;
inline constexpr size_t kDeviceTag = 0;  // the SHA-256 of .data as 64 characters
inline constexpr size_t kDeviceTagBytes = 64;
inline constexpr size_t kDeviceBlocks = 64;
inline constexpr size_t kDeviceStart = 68;  // first block when both files are one device

// Inode, 64 bytes.
inline constexpr size_t kInodeBytes = 64;
inline constexpr size_t kInodeFormat = 0;  // bit 0: 64-byte form; bits 1 to 3: layout
inline constexpr size_t kInodeXattrCount = 2;
inline constexpr size_t kInodeMode = 4;
inline constexpr size_t kInodeSize = 8;
inline constexpr size_t kInodeUnion = 16;  // block, device number or chunk format
inline constexpr size_t kInodeIno = 20;
inline constexpr size_t kInodeUid = 24;
inline constexpr size_t kInodeGid = 28;
inline constexpr size_t kInodeMtime = 32;
inline constexpr size_t kInodeMtimeNs = 40;
inline constexpr size_t kInodeLinks = 44;

enum class Layout : uint16_t { kPlain = 0, kInline = 2, kChunks = 4 };
inline constexpr uint16_t kExtendedInode = 1;

// Chunk indexes (8 bytes each) follow inode and attributes, aligned to 8.
inline constexpr uint16_t kChunkFormat = 0x20 | (kChunkBits - kBlockBits);
inline constexpr size_t kChunkIndexBytes = 8;
inline constexpr size_t kChunkDevice = 2;
inline constexpr size_t kChunkBlock = 4;
inline constexpr uint16_t kDataDevice = 1;

// Attributes: a 12-byte header, then entries of 4 bytes, name and value, each padded to 4.
inline constexpr size_t kXattrHeaderBytes = 12;
inline constexpr size_t kXattrEntryBytes = 4;
inline constexpr size_t kXattrNameBytesMax = 255;
inline constexpr size_t kXattrValueBytesMax = 65535;
inline constexpr size_t kXattrAreaBytesMax = kXattrHeaderBytes + 4 * size_t{65534};

struct XattrPrefix {
    uint8_t index;
    const char* prefix;
};
// The two ACLs are whole names; the others are followed by the rest of the name.
inline constexpr XattrPrefix kXattrPrefixes[] = {{1, "user."},
                                                 {2, "system.posix_acl_access"},
                                                 {3, "system.posix_acl_default"},
                                                 {4, "trusted."},
                                                 {6, "security."}};

// Directory entry, 12 bytes; names follow the entries of their block.
inline constexpr size_t kDirentBytes = 12;
inline constexpr size_t kDirentNid = 0;
inline constexpr size_t kDirentNameOffset = 8;
inline constexpr size_t kDirentType = 10;

constexpr size_t round_up(size_t value, size_t unit) {
    return (value + unit - 1) / unit * unit;
}
constexpr uint64_t blocks_of(uint64_t bytes) {
    return bytes / kBlockBytes + (bytes % kBlockBytes != 0 ? 1 : 0);
}
constexpr uint64_t chunks_of(uint64_t bytes) {
    return bytes / kChunkBytes + (bytes % kChunkBytes != 0 ? 1 : 0);
}

}  // namespace baleen::sandbox::image::erofs
