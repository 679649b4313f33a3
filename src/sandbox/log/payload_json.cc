#include "sandbox/log/payload_json.h"

#include <limits>

namespace baleen::sandbox {

const SortedJson& member(const SortedJson& object, const std::string& key) {
    static const SortedJson kNull;
    if (!object.is_object()) return kNull;
    const auto it = object.find(key);
    return it != object.end() ? *it : kNull;
}

std::string read_string(const SortedJson& object, const std::string& key) {
    return read_optional_string(object, key).value_or("");
}

std::optional<std::string> read_optional_string(const SortedJson& object, const std::string& key) {
    const SortedJson& value = member(object, key);
    if (!value.is_string()) return std::nullopt;
    return value.get_ref<const std::string&>();
}

uint64_t read_number(const SortedJson& object, const std::string& key) {
    return read_optional_number(object, key).value_or(0);
}

std::optional<uint64_t> read_optional_number(const SortedJson& object, const std::string& key) {
    const SortedJson& value = member(object, key);
    if (!value.is_number_unsigned()) return std::nullopt;
    return value.get<uint64_t>();
}

std::optional<int32_t> read_optional_int(const SortedJson& object, const std::string& key) {
    using Limits = std::numeric_limits<int32_t>;
    const SortedJson& value = member(object, key);
    if (!value.is_number_integer()) return std::nullopt;
    const auto number = value.get<int64_t>();
    if (number < Limits::min() || number > Limits::max()) return std::nullopt;
    return static_cast<int32_t>(number);
}

bool read_flag(const SortedJson& object, const std::string& key) {
    const SortedJson& value = member(object, key);
    return value.is_boolean() && value.get<bool>();
}

Sha256Digest read_digest(const SortedJson& object, const std::string& key) {
    return parse_sha256(read_string(object, key)).value_or(Sha256Digest{});
}

std::vector<std::string> read_strings(const SortedJson& object, const std::string& key) {
    std::vector<std::string> strings;
    const SortedJson& list = member(object, key);
    if (!list.is_array()) return strings;
    for (const SortedJson& item : list)
        if (item.is_string()) strings.push_back(item.get_ref<const std::string&>());
    return strings;
}

std::map<std::string, std::string> read_string_map(const SortedJson& object,
                                                   const std::string& key) {
    std::map<std::string, std::string> map;
    const SortedJson& value = member(object, key);
    if (!value.is_object()) return map;
    for (const auto& [name, item] : value.items())
        if (item.is_string()) map.emplace(name, item.get_ref<const std::string&>());
    return map;
}

void write_string(SortedJson& object, const std::string& key, const std::string& value) {
    if (!value.empty()) object[key] = value;
}
void write_number(SortedJson& object, const std::string& key, uint64_t value) {
    if (value != 0) object[key] = value;
}
void write_flag(SortedJson& object, const std::string& key, bool value) {
    if (value) object[key] = true;
}
void write_string_map(SortedJson& object, const std::string& key,
                      const std::map<std::string, std::string>& value) {
    if (!value.empty()) object[key] = value;
}

}  // namespace baleen::sandbox
