#include "sandbox/log/payload.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "sandbox/log/payload_json.h"

namespace baleen::sandbox {
namespace {

constexpr std::array<std::string_view, 3> kPolicyNames = {"fail", "rewind", "rerun"};

// ---- open, attach, seal ------------------------------------------------------------------------

SortedJson json_of(const OpenPayload& open) {
    SortedJson json = {{"created_ns", open.created_ns},
                       {"policy", name_of(open.policy)},
                       {"trajectory", open.name}};
    write_string(json, "sandbox", open.sandbox);
    write_string_map(json, "labels", open.labels);
    if (open.parent)
        json["parent"] = {{"at", open.parent->at},
                          {"head", hex(open.parent->head)},
                          {"trajectory", open.parent->name}};
    return json;
}

OpenPayload read_open(const SortedJson& json) {
    OpenPayload open;
    open.name = read_string(json, "trajectory");
    open.created_ns = read_number(json, "created_ns");
    open.sandbox = read_string(json, "sandbox");
    open.policy = parse_outcome_policy(read_string(json, "policy")).value_or(OutcomePolicy::kFail);
    open.labels = read_string_map(json, "labels");
    if (const SortedJson& parent = member(json, "parent"); !parent.is_null())
        open.parent = {.name = read_string(parent, "trajectory"),
                       .at = read_number(parent, "at"),
                       .head = read_digest(parent, "head")};
    return open;
}

SortedJson json_of(const AttachPayload& attach) {
    SortedJson json = {{"epoch", attach.epoch}};
    write_string(json, "from", attach.from);
    write_string(json, "sandbox", attach.sandbox);
    return json;
}

AttachPayload read_attach(const SortedJson& json) {
    return {.epoch = read_number(json, "epoch"),
            .from = read_string(json, "from"),
            .sandbox = read_string(json, "sandbox")};
}

SortedJson json_of(const SealPayload& seal) {
    SortedJson json = {{"cause", seal.cause}};
    write_flag(json, "infra", seal.is_infra);
    return json;
}

SealPayload read_seal(const SortedJson& json) {
    return {.cause = read_string(json, "cause"), .is_infra = read_flag(json, "infra")};
}

// ---- intents and results -----------------------------------------------------------------------

SortedJson json_of(const Intent& intent) {
    SortedJson json = {{"effects", name_of(intent.effects)},
                       {"epoch", intent.epoch},
                       {"index", intent.index},
                       {"request", json_of(intent.request)},
                       {"stream", intent.stream}};
    if (const auto request = dump_canonical_json(json["request"]))
        json["digest"] = hex(sha256(*request));
    if (intent.request.input) json["input"] = json_of(*intent.request.input);
    write_string_map(json, "options", intent.options);
    write_flag(json, "volatile", intent.is_volatile);
    return json;
}

Intent read_intent(const SortedJson& json) {
    Intent intent;
    intent.stream = read_string(json, "stream");
    intent.index = read_number(json, "index");
    intent.epoch = read_number(json, "epoch");
    intent.request = read_request(member(json, "request"));
    if (const SortedJson& input = member(json, "input"); !input.is_null())
        intent.request.input = read_stored(input);
    intent.options = read_string_map(json, "options");
    intent.effects = parse_effects(read_string(json, "effects")).value_or(Effects::kSandbox);
    intent.is_volatile = read_flag(json, "volatile");
    return intent;
}

void write_output(SortedJson& object, const std::string& key, const Output& output) {
    if (output.head)
        object[key] = {{"head", *output.head},
                       {"kept", json_of(output.kept)},
                       {"sha256", hex(output.digest)},
                       {"total", output.total}};
    else if (output.total > 0)
        object[key] = json_of(output.kept);
}

Output read_output(const SortedJson& object, const std::string& key) {
    const SortedJson& json = member(object, key);
    const auto head = read_optional_number(json, "head");
    Output output = whole_output(read_stored(head ? member(json, "kept") : json));
    if (!head) return output;
    output.head = head;
    output.total = read_number(json, "total");
    output.digest = read_digest(json, "sha256");
    return output;
}

SortedJson json_of(const OpResult& result) {
    SortedJson json = {{"duration_ns", result.duration_ns}};
    if (result.exit_code) json["exit_code"] = *result.exit_code;
    if (result.signal) json["signal"] = *result.signal;
    write_flag(json, "timed_out", result.timed_out);
    write_string(json, "cause", result.cause);
    write_output(json, "stdout", result.standard_output);
    write_output(json, "stderr", result.standard_error);
    write_string(json, "answer", result.answer);
    if (result.layer) {
        json["layer"] = {{"sha256", hex(result.layer->digest)}};
        if (result.layer->manifest) json["layer"]["manifest"] = json_of(*result.layer->manifest);
    }
    return json;
}

OpResult read_result(const SortedJson& json) {
    OpResult result;
    result.exit_code = read_optional_int(json, "exit_code");
    result.signal = read_optional_int(json, "signal");
    result.timed_out = read_flag(json, "timed_out");
    result.cause = read_string(json, "cause");
    result.standard_output = read_output(json, "stdout");
    result.standard_error = read_output(json, "stderr");
    result.duration_ns = read_number(json, "duration_ns");
    result.answer = read_string(json, "answer");
    if (const SortedJson& layer = member(json, "layer"); !layer.is_null()) {
        result.layer = LayerState{.digest = read_digest(layer, "sha256"), .manifest = {}};
        if (const SortedJson& manifest = member(layer, "manifest"); !manifest.is_null())
            result.layer->manifest = read_stored(manifest);
    }
    return result;
}

SortedJson json_of(const Note& note) {
    const auto json = parse_sorted_json(note.json);
    return json ? *json : SortedJson();
}

// ---- what no spelling rules out ----------------------------------------------------------------

// A whole output is all that was written; of another, something behind the head is missing.
bool is_consistent(const Output& output) {
    if (!output.head) return output == whole_output(output.kept);
    return *output.head <= output.kept.size() && output.kept.size() < output.total;
}

Result<void> check(const OpenPayload& open) {
    if (auto name = check_trajectory_name(open.name); !name) return name;
    return open.parent ? check_trajectory_name(open.parent->name) : Result<void>();
}
Result<void> check(const Intent& intent) {
    if (auto name = check_stream_name(intent.stream); !name) return name;
    auto request = canonical_request(intent.request);
    if (!request) return std::move(request).error();
    return {};
}
Result<void> check(const OpResult& result) {
    if (!is_consistent(result.standard_output) || !is_consistent(result.standard_error))
        return make_error(ErrorCode::kInvalidArgument,
                          "an output's head, kept and total bytes contradict each other");
    if (result.layer && result.layer->manifest &&
        result.layer->manifest->digest() != result.layer->digest)
        return make_error(ErrorCode::kInvalidArgument,
                          "the layer's digest is not that of its manifest");
    return {};
}
Result<void> check(const AttachPayload&) {
    return {};
}
Result<void> check(const SealPayload&) {
    return {};
}
Result<void> check(const Note& note) {
    const auto json = parse_sorted_json(note.json);
    if (json && json->is_object()) return {};
    return make_error(ErrorCode::kInvalidArgument, "{}: not a JSON object", name_of(note.type));
}

Payload read_payload(RecordType type, const SortedJson& json, std::string_view text) {
    switch (type) {
        case RecordType::kOpen: return read_open(json);
        case RecordType::kAttach: return read_attach(json);
        case RecordType::kIntent: return read_intent(json);
        case RecordType::kResult: return read_result(json);
        case RecordType::kSeal: return read_seal(json);
        case RecordType::kCheckpoint:
        case RecordType::kPause:
        case RecordType::kResume:
        case RecordType::kFork:
        case RecordType::kNetwork:
        case RecordType::kEvent: break;
    }
    return Note{type, std::string(text)};
}

RecordType type_of_payload(const OpenPayload&) {
    return RecordType::kOpen;
}
RecordType type_of_payload(const AttachPayload&) {
    return RecordType::kAttach;
}
RecordType type_of_payload(const Intent&) {
    return RecordType::kIntent;
}
RecordType type_of_payload(const OpResult&) {
    return RecordType::kResult;
}
RecordType type_of_payload(const Note& note) {
    return note.type;
}
RecordType type_of_payload(const SealPayload&) {
    return RecordType::kSeal;
}

void add_blob(const StoredBytes& stored, std::vector<StoredBytes>& blobs) {
    if (stored.is_blob()) blobs.push_back(stored);
}

}  // namespace

std::string_view name_of(OutcomePolicy policy) {
    return kPolicyNames[static_cast<size_t>(policy)];
}

std::optional<OutcomePolicy> parse_outcome_policy(std::string_view name) {
    const auto* const it = std::ranges::find(kPolicyNames, name);
    if (it == kPolicyNames.end()) return std::nullopt;
    return static_cast<OutcomePolicy>(it - kPolicyNames.begin());
}

Output whole_output(StoredBytes bytes) {
    Output output;
    output.total = bytes.size();
    output.digest = bytes.digest();
    output.kept = std::move(bytes);
    return output;
}

RecordType type_of(const Payload& payload) {
    return std::visit([](const auto& p) { return type_of_payload(p); }, payload);
}

Result<std::string> encode_payload(const Payload& payload) {
    if (auto checked = std::visit([](const auto& p) { return check(p); }, payload); !checked)
        return std::move(checked).error();
    auto text = dump_canonical_json(std::visit([](const auto& p) { return json_of(p); }, payload));
    if (!text) return std::move(text).error().in(std::string(name_of(type_of(payload))));
    if (text->size() > kPayloadBytesMax)
        return make_error(ErrorCode::kExhausted, "{}: {} bytes, a record takes at most {}",
                          name_of(type_of(payload)), text->size(), kPayloadBytesMax);
    return text;
}

Result<Payload> decode_payload(RecordType type, std::string_view text) {
    const auto corrupt = [&](const std::string& what) {
        return make_error(ErrorCode::kCorrupt, "payload of {}: {}", name_of(type), what);
    };
    const auto json = parse_sorted_json(text);
    if (!json) return corrupt(json.error().message);
    Payload payload = read_payload(type, *json, text);
    const auto again = encode_payload(payload);
    if (!again) return corrupt(again.error().message);
    if (*again != text) {
        const auto [ours, theirs] = std::ranges::mismatch(*again, text);
        return corrupt(
            fmt::format("not the canonical form from byte {} on", theirs - text.begin()));
    }
    return payload;
}

std::string sandbox_of(const Note& note) {
    const auto json = parse_sorted_json(note.json);
    return json ? read_string(*json, "sandbox") : "";
}

std::vector<StoredBytes> blobs_of(const Payload& payload) {
    std::vector<StoredBytes> blobs;
    if (const auto* intent = std::get_if<Intent>(&payload); intent && intent->request.input)
        add_blob(*intent->request.input, blobs);
    if (const auto* result = std::get_if<OpResult>(&payload)) {
        add_blob(result->standard_output.kept, blobs);
        add_blob(result->standard_error.kept, blobs);
        if (result->layer && result->layer->manifest) add_blob(*result->layer->manifest, blobs);
    }
    return blobs;
}

}  // namespace baleen::sandbox
