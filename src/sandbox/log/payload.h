// What the records of a trajectory log say: typed payloads and their one spelling as canonical JSON
// (sorted keys, no white space, defaults left out). A payload is read back only if it is byte for
// byte what encode_payload writes, so nothing in a log goes unread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "sandbox/log/record.h"
#include "sandbox/log/request.h"

namespace baleen::sandbox {

// What may be done about an operation whose outcome is unknown (spec 5.4).
enum class OutcomePolicy { kFail, kRewind, kRerun };
std::string_view name_of(OutcomePolicy policy);  // "fail", "rewind", "rerun"
std::optional<OutcomePolicy> parse_outcome_policy(std::string_view name);

struct ParentPoint {
    std::string name;     // of the trajectory that was branched from
    uint64_t at = 0;      // the last seq taken over
    Sha256Digest head{};  // hash of that record
    bool operator==(const ParentPoint&) const = default;
};

struct OpenPayload {
    std::string name;
    uint64_t created_ns = 0;
    std::string sandbox;
    OutcomePolicy policy = OutcomePolicy::kFail;
    std::map<std::string, std::string> labels;
    std::optional<ParentPoint> parent;
    bool operator==(const OpenPayload&) const = default;
};

struct AttachPayload {
    uint64_t epoch = 0;
    std::string from;     // who attached, for a reader of the log
    std::string sandbox;  // empty: as before
    bool operator==(const AttachPayload&) const = default;
};

struct Intent {
    std::string stream = "main";
    uint64_t index = 0;
    uint64_t epoch = 0;
    OpRequest request;
    // Not part of the digest:
    std::map<std::string, std::string> options;  // timeouts, labels: what re-execution needs
    Effects effects = Effects::kSandbox;
    bool is_volatile = false;
    bool operator==(const Intent&) const = default;
};

// What an operation wrote to one of its outputs.
struct Output {
    StoredBytes kept;              // everything, or head and tail
    std::optional<uint64_t> head;  // bytes of `kept` that are the head; nullopt: everything is kept
    uint64_t total = 0;            // bytes written
    Sha256Digest digest = kept.digest();  // of all bytes written
    bool operator==(const Output&) const = default;
};
Output whole_output(StoredBytes bytes);

// The writable layer after an operation (tree_manifest.h).
struct LayerState {
    Sha256Digest digest{};                // of the manifest
    std::optional<StoredBytes> manifest;  // if it was kept: names the paths that differ
    bool operator==(const LayerState&) const = default;
};

struct OpResult {
    std::optional<int32_t> exit_code, signal;
    bool timed_out = false;
    std::string cause;  // why it ended, if not by itself: oom, output, ...
    Output standard_output, standard_error;
    uint64_t duration_ns = 0;
    std::optional<LayerState> layer;
    std::string answer;  // of other kinds: what the client was told, JSON text
    bool operator==(const OpResult&) const = default;
};

// checkpoint, pause, resume, fork, network, event: a JSON object of the daemon's. The member
// "sandbox", a string, says which sandbox the trajectory is in from here on.
struct Note {
    RecordType type = RecordType::kEvent;
    std::string json = "{}";
    bool operator==(const Note&) const = default;
};

struct SealPayload {
    std::string cause;
    bool is_infra = false;
    bool operator==(const SealPayload&) const = default;
};

using Payload = std::variant<OpenPayload, AttachPayload, Intent, OpResult, Note, SealPayload>;

RecordType type_of(const Payload& payload);

// The payload's text. kInvalidArgument: a string that is not UTF-8, a note that is no JSON object;
// kExhausted: more than kPayloadBytesMax.
Result<std::string> encode_payload(const Payload& payload);
// kCorrupt: not what encode_payload writes for that type.
Result<Payload> decode_payload(RecordType type, std::string_view text);

// The sandbox that a note names; empty if none.
std::string sandbox_of(const Note& note);

// The blobs that a payload refers to.
std::vector<StoredBytes> blobs_of(const Payload& payload);

}  // namespace baleen::sandbox
