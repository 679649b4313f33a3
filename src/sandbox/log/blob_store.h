// BlobStore: bytes by their SHA-256, in FOLDER/sha256/ab/<hex>. A blob is written under a temporary
// name, synced and renamed, so under its own name there is all of it or nothing; it is never
// changed. Any number of threads; one process writes to a store.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/sha256.h"
#include "sandbox/log/posix_file.h"
#include "sandbox/log/request.h"

namespace baleen::sandbox {

class BlobStore {
  public:
    // Creates the folders; removes what a writer that died has left behind.
    static Result<std::unique_ptr<BlobStore>> open(const std::string& folder);
    // For reading alone: creates and removes nothing.
    static std::unique_ptr<BlobStore> open_read_only(const std::string& folder);

    // Durable when it returns, unless small enough for a record. A blob that is there already with
    // the same bytes is left alone.
    Result<StoredBytes> keep(std::string_view bytes);

    // The bytes, checked against size and digest. kNotFound, kCorrupt, kExhausted beyond bytes_max.
    Result<std::string> fetch(const StoredBytes& stored, uint64_t bytes_max) const;

    // Reads a blob through and compares: kNotFound, or kCorrupt with what is wrong.
    Result<void> verify(const StoredBytes& stored) const;

    std::string path_of(const Sha256Digest& digest) const;
    const std::string& folder() const { return folder_; }

    // Bytes that come in pieces, for what is too large to hold in memory. Gone without a trace
    // unless finish() succeeds. One thread at a time.
    class Writer {
      public:
        Writer(Writer&&) = default;
        Writer& operator=(Writer&&) = delete;
        ~Writer();

        Result<void> append(std::string_view bytes);
        uint64_t size() const { return size_; }
        Result<StoredBytes> finish();

      private:
        friend class BlobStore;
        explicit Writer(BlobStore& store) : store_(&store) {}
        Result<void> begin_file();

        BlobStore* store_;
        Sha256 hash_;
        uint64_t size_ = 0;
        std::string small_;                // the bytes while they would fit in a record
        std::unique_ptr<PosixFile> file_;  // under its temporary name
    };
    Writer writer() { return Writer(*this); }

  private:
    explicit BlobStore(std::string folder) : folder_(std::move(folder)) {}
    std::string temporary_path();

    const std::string folder_;
    std::atomic<uint64_t> next_temporary_{0};
};

}  // namespace baleen::sandbox
