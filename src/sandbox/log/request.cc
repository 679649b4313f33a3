#include "sandbox/log/request.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/base64.h"
#include "base/check.h"
#include "base/json.h"
#include "sandbox/log/payload_json.h"

namespace baleen::sandbox {
namespace {

constexpr std::array<std::string_view, 3> kEffectsNames = {"none", "sandbox", "external"};
// Members of a canonical request that are not of `fields`.
constexpr std::array<std::string_view, 8> kRequestKeys = {"kind", "argv",  "shell",   "cwd",
                                                          "env",  "stdin", "session", "user"};

bool is_field_name(std::string_view name) {
    const auto is_allowed = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
    return !name.empty() && std::ranges::all_of(name, is_allowed) &&
           std::ranges::find(kRequestKeys, name) == kRequestKeys.end();
}

}  // namespace

// ---- stored bytes ------------------------------------------------------------------------------

StoredBytes StoredBytes::in_record(std::string bytes) {
    CHECK_LE(bytes.size(), kInlineBytesMax);
    const Sha256Digest digest = sha256(bytes);
    const size_t size = bytes.size();
    return {digest, size, std::move(bytes)};
}

StoredBytes StoredBytes::in_blob(const Sha256Digest& digest, uint64_t size) {
    CHECK_LT(kInlineBytesMax, size);
    return {digest, size, std::nullopt};
}

SortedJson json_of(const StoredBytes& stored) {
    if (stored.is_blob()) return {{"blob", hex(stored.digest())}, {"size", stored.size()}};
    if (dump_canonical_json(SortedJson(stored.inline_bytes())))
        return {{"text", stored.inline_bytes()}};
    return {{"base64", base64(stored.inline_bytes())}};
}

StoredBytes read_stored(const SortedJson& json) {
    const uint64_t size = read_number(json, "size");
    if (size > kInlineBytesMax) return StoredBytes::in_blob(read_digest(json, "blob"), size);
    std::string bytes = read_string(json, "text");
    if (const auto encoded = read_optional_string(json, "base64"))
        bytes = parse_base64(*encoded).value_or("");
    if (bytes.size() > kInlineBytesMax) bytes.clear();
    return StoredBytes::in_record(std::move(bytes));
}

// ---- names -------------------------------------------------------------------------------------

std::string_view name_of(Effects effects) {
    return kEffectsNames[static_cast<size_t>(effects)];
}

std::optional<Effects> parse_effects(std::string_view name) {
    const auto* const it = std::ranges::find(kEffectsNames, name);
    if (it == kEffectsNames.end()) return std::nullopt;
    return static_cast<Effects>(it - kEffectsNames.begin());
}

Result<void> check_stream_name(std::string_view name) {
    const auto is_allowed = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               std::string_view("._:/@-").find(c) != std::string_view::npos;
    };
    if (name.empty() || name.size() > kStreamNameBytesMax)
        return make_error(ErrorCode::kInvalidArgument,
                          "the stream's name has {} bytes, allowed are 1 to {}", name.size(),
                          kStreamNameBytesMax);
    if (!std::ranges::all_of(name, is_allowed))
        return make_error(
            ErrorCode::kInvalidArgument,
            "the stream's name has a character that is not one of A-Z a-z 0-9 ._:/@-");
    return {};
}

// ---- requests ----------------------------------------------------------------------------------

SortedJson json_of(const OpRequest& request) {
    SortedJson json = request.fields.empty() ? SortedJson::object() : SortedJson(request.fields);
    json["kind"] = request.kind;
    if (!request.argv.empty()) json["argv"] = request.argv;
    if (request.shell) json["shell"] = *request.shell;
    write_string(json, "cwd", request.cwd);
    for (const auto& [name, value] : request.env)
        json["env"][name] = value ? SortedJson(*value) : SortedJson();
    if (request.input) json["stdin"] = hex(request.input->digest());
    write_string(json, "session", request.session);
    write_string(json, "user", request.user);
    return json;
}

OpRequest read_request(const SortedJson& json) {
    OpRequest request;
    request.kind = read_string(json, "kind");
    request.argv = read_strings(json, "argv");
    request.shell = read_optional_string(json, "shell");
    request.cwd = read_string(json, "cwd");
    if (const SortedJson& env = member(json, "env"); env.is_object())
        for (const auto& [name, value] : env.items())
            request.env.emplace(name, read_optional_string(env, name));
    request.session = read_string(json, "session");
    request.user = read_string(json, "user");
    if (json.is_object())
        for (const auto& [name, value] : json.items())
            if (value.is_string() && is_field_name(name))
                request.fields.emplace(name, value.get_ref<const std::string&>());
    return request;
}

Result<std::string> canonical_request(const OpRequest& request) {
    for (const auto& [name, value] : request.fields)
        if (!is_field_name(name))
            return make_error(ErrorCode::kInvalidArgument,
                              "request field '{}': a name of a-z and _ that is no other member's",
                              name);
    auto text = dump_canonical_json(json_of(request));
    if (!text) return std::move(text).error().in("request");
    return text;
}

Result<Sha256Digest> request_digest(const OpRequest& request) {
    return sha256(TRY(canonical_request(request)));
}

}  // namespace baleen::sandbox
