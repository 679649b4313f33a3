// Reads the .meta files that erofs_writer.h makes, and no other EROFS: every byte is checked before
// it is used, so that a hostile file gives an error. Used by verify, compact and unpack, and to
// check a layer before the kernel is asked to mount it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/image/entry.h"
#include "sandbox/image/erofs_format.h"

namespace baleen::sandbox::image {

struct ErofsInode {
    uint64_t nid = 0;
    EntryKind kind = EntryKind::kRegular;
    Attributes attributes;  // xattrs included
    uint64_t size = 0;
    uint32_t num_links = 0;
    uint32_t device_major = 0;
    uint32_t device_minor = 0;
    uint64_t num_chunks = 0;  // of a regular file

    // Where its bytes are in .meta, and how many they are.
    uint64_t meta_bytes = 0;
    erofs::Layout layout = erofs::Layout::kPlain;
    uint64_t content_offset = 0;  // chunk indexes or inline bytes
    uint64_t block = 0;           // first own block
};

struct ErofsDirent {
    std::string name;
    uint64_t nid = 0;
    EntryKind kind = EntryKind::kRegular;
};

struct ErofsDirectory {
    std::vector<ErofsDirent> entries;  // sorted by bytes, without "." and ".."
    uint64_t parent_nid = 0;
};

class ErofsReader {
  public:
    // `meta` must outlive the reader. Checks the superblock with its checksum and the device table.
    static Result<ErofsReader> open(std::span<const uint8_t> meta);

    uint64_t root_nid() const { return root_nid_; }
    uint64_t num_inodes() const { return num_inodes_; }
    uint64_t meta_bytes() const { return meta_.size(); }
    uint32_t data_blocks() const { return data_blocks_; }
    uint64_t data_bytes() const { return uint64_t{data_blocks_} * erofs::kBlockBytes; }
    const std::string& data_digest() const { return data_digest_; }  // 64 characters of hex

    Result<ErofsInode> inode(uint64_t nid) const;
    Result<ErofsDirectory> directory(const ErofsInode& inode) const;
    Result<std::string> symlink_target(const ErofsInode& inode) const;
    // First byte of a chunk in .data, none for a hole. The chunk lies inside .data.
    Result<std::optional<uint64_t>> chunk_offset(const ErofsInode& inode, uint64_t chunk_idx) const;

    // The inode at a path, without following symlinks; none if there is nothing. Searches as the
    // kernel does, so it is fast in large directories. REQUIRES: check_layer() has passed, else
    // names out of order may hide others.
    Result<std::optional<ErofsInode>> find(std::string_view path) const;

  private:
    Result<std::span<const uint8_t>> bytes_at(uint64_t offset, uint64_t count) const;
    Result<void> read_superblock();
    Result<void> read_layout(ErofsInode& inode, uint32_t union_field) const;
    Result<void> read_xattrs(ErofsInode& inode, uint64_t offset, size_t bytes) const;
    Result<std::span<const uint8_t>> content_block(const ErofsInode& inode, uint64_t idx) const;
    Result<std::optional<ErofsDirent>> lookup(const ErofsInode& directory,
                                              std::string_view name) const;

    std::span<const uint8_t> meta_;
    uint64_t root_nid_ = 0;
    uint64_t num_inodes_ = 0;
    uint32_t data_blocks_ = 0;
    std::string data_digest_;
};

// Gets every entry of the layer: parents before children, names in order, directories once. The
// second and later names of a file come as hard links to its first. The inode is there for its
// chunks.
using EntryVisitor = std::function<Result<void>(const Entry&, const ErofsInode&)>;

// Visits the whole tree. kCorrupt for anything that a tree of our own cannot be: a directory
// reached twice, wrong link counts, paths too long, inodes that overlap .meta's end.
Result<void> walk_layer(const ErofsReader& reader, const EntryVisitor& visit);

// Walks and checks every chunk. What passes is a layer that the kernel may mount.
Result<void> check_layer(const ErofsReader& reader);

// Random access to .data.
using DataAccess = std::function<Result<void>(uint64_t offset, std::span<uint8_t> bytes)>;

// A run of a file's content: bytes, or (bytes empty) a hole.
using ContentSink = std::function<Result<void>(std::span<const uint8_t> bytes, uint64_t hole)>;
Result<void> read_content(const ErofsReader& reader, const ErofsInode& inode,
                          const DataAccess& data, const ContentSink& sink);

}  // namespace baleen::sandbox::image
