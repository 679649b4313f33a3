// A request as the trajectory log knows it: what decides whether two calls are the same one, and
// the digest of that (spec 5.1, step 2).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"

namespace baleen::sandbox {

// Bytes up to this size stand in the record; more are a blob (blob_store.h).
inline constexpr size_t kInlineBytesMax = 4096;
// Name of one sequential caller inside a client: [A-Za-z0-9._:/@-], at least one.
inline constexpr size_t kStreamNameBytesMax = 128;

// Bytes that belong to a record, in it or in the blob store. BlobStore::keep makes them.
class StoredBytes {
  public:
    StoredBytes() : StoredBytes(in_record("")) {}
    static StoredBytes in_record(std::string bytes);  // REQUIRES: at most kInlineBytesMax
    static StoredBytes in_blob(const Sha256Digest& digest, uint64_t size);  // REQUIRES: more

    const Sha256Digest& digest() const { return digest_; }
    uint64_t size() const { return size_; }
    bool is_blob() const { return !inline_bytes_.has_value(); }
    const std::string& inline_bytes() const { return *inline_bytes_; }  // REQUIRES: not a blob
    bool operator==(const StoredBytes&) const = default;

  private:
    StoredBytes(const Sha256Digest& digest, uint64_t size, std::optional<std::string> bytes)
        : digest_(digest), size_(size), inline_bytes_(std::move(bytes)) {}
    Sha256Digest digest_{};
    uint64_t size_ = 0;
    std::optional<std::string> inline_bytes_;
};

// What an operation may change.
enum class Effects { kNone, kSandbox, kExternal };

std::string_view name_of(Effects effects);  // "none", "sandbox", "external"
std::optional<Effects> parse_effects(std::string_view name);

// What a client asks for, as far as it decides whether two calls are the same one.
struct OpRequest {
    std::string kind = "exec";  // exec, stdin, signal, write, ...
    std::vector<std::string> argv;
    std::optional<std::string> shell;  // instead of argv
    std::string cwd;
    std::map<std::string, std::optional<std::string>> env;  // changes; nullopt: unset
    std::optional<StoredBytes> input;  // stdin, or the content of a file; its digest counts
    std::string session, user;
    std::map<std::string, std::string> fields;  // of other kinds: path, signal, rules, ...

    bool operator==(const OpRequest&) const = default;
};

// The text that is digested: sorted keys, empty fields left out. kInvalidArgument: a string that is
// not UTF-8, or one of `fields` named like a member above.
Result<std::string> canonical_request(const OpRequest& request);
Result<Sha256Digest> request_digest(const OpRequest& request);

Result<void> check_stream_name(std::string_view name);

}  // namespace baleen::sandbox
