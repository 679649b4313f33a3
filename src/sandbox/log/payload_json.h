// Reading payloads leniently: a member that is missing or of another type reads as its default.
// decode_payload() then encodes what was read and compares, which finds all of those at once.
// Private to sandbox/log.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/sha256.h"
#include "sandbox/log/request.h"

namespace baleen::sandbox {

const SortedJson& member(const SortedJson& object,
                         const std::string& key);  // null if there is none

std::string read_string(const SortedJson& object, const std::string& key);
std::optional<std::string> read_optional_string(const SortedJson& object, const std::string& key);
uint64_t read_number(const SortedJson& object, const std::string& key);
std::optional<uint64_t> read_optional_number(const SortedJson& object, const std::string& key);
std::optional<int32_t> read_optional_int(const SortedJson& object, const std::string& key);
bool read_flag(const SortedJson& object, const std::string& key);
Sha256Digest read_digest(const SortedJson& object, const std::string& key);
std::vector<std::string> read_strings(const SortedJson& object, const std::string& key);
std::map<std::string, std::string> read_string_map(const SortedJson& object,
                                                   const std::string& key);

// Set only if it is not the default, so that one value has one spelling.
void write_string(SortedJson& object, const std::string& key, const std::string& value);
void write_number(SortedJson& object, const std::string& key, uint64_t value);
void write_flag(SortedJson& object, const std::string& key, bool value);
void write_string_map(SortedJson& object, const std::string& key,
                      const std::map<std::string, std::string>& value);

// {"text"}, {"base64"} for what is not UTF-8, or {"blob", "size"}.
SortedJson json_of(const StoredBytes& stored);
StoredBytes read_stored(const SortedJson& json);

// REQUIRES: request passed canonical_request.
SortedJson json_of(const OpRequest& request);
// All but the input, of which a request has the digest only.
OpRequest read_request(const SortedJson& json);

}  // namespace baleen::sandbox
