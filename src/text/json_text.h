// JSON as Python's json module keeps and writes it (spec/chat-encoding.md, section 10): integers of
// any length, key order, a key given twice in its first place with its last value. Prompts hold
// what json.dumps(json.loads(text), ensure_ascii=False) gives, and the model was trained on those
// bytes; base/json, for everything else, keeps neither long integers nor Python's doubles.
// A value: owns its tree, no threads.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace baleen {

struct JsonMember;

class JsonText {
  public:
    enum class Kind : uint8_t { kNull, kBool, kInteger, kDouble, kString, kArray, kObject };

    JsonText() = default;  // null
    static JsonText of_string(std::string text);

    // One complete JSON text. kCorrupt with the byte offset where it is not UTF-8 or not JSON.
    // kInvalidArgument where it is, and Python reads it, but a prompt cannot carry it: a lone
    // surrogate, NaN, Infinity, a number beyond the double range, nesting beyond kJsonDepthMax.
    // Linear in the length, but for sorting the keys of large objects.
    static Result<JsonText> parse(std::string_view text);

    Kind kind() const { return static_cast<Kind>(value_.index()); }
    bool is_null() const { return kind() == Kind::kNull; }
    bool is_string() const { return kind() == Kind::kString; }
    bool is_array() const { return kind() == Kind::kArray; }
    bool is_object() const { return kind() == Kind::kObject; }

    // REQUIRES: the kind of the name.
    bool boolean() const;
    const std::string& string() const;

    // kInteger and kDouble, as Python writes them. REQUIRES: one of these.
    const std::string& number() const;
    // The value of a kInteger that fits.
    std::optional<int64_t> integer() const;

    // Python's bool(value).
    bool truthy() const;

    // Items or members; empty for other kinds.
    std::span<const JsonText> items() const;
    std::span<const JsonMember> members() const;
    size_t size() const { return items().size() + members().size(); }
    // REQUIRES: an array, i < size().
    const JsonText& at(size_t i) const;

    // The member's value; nullptr if there is none or this is not an object.
    const JsonText* find(std::string_view key) const;
    // As find, and nullptr also where the value is null.
    const JsonText* find_set(std::string_view key) const;

    // An existing key keeps its place, a new one comes last. REQUIRES: an object.
    void set(std::string_view key, JsonText value);
    void erase(std::string_view key);

    // json.dumps(value, ensure_ascii=False), on one line.
    std::string dump_python() const;

  private:
    class Parser;
    struct Integer {
        std::string digits;
    };
    struct Double {
        std::string text;
    };

    void append_python(std::string& out) const;

    // In the order of Kind.
    std::variant<std::monostate, bool, Integer, Double, std::string, std::vector<JsonText>,
                 std::vector<JsonMember>>
        value_;
};

struct JsonMember {
    std::string key;
    JsonText value;
};

// For messages: "null", "a boolean", "an integer", "a number", "a string", "a list", "an object".
std::string_view kind_name(JsonText::Kind kind);

// Appends text as a JSON string, quotes included, the way Python writes it without ensure_ascii.
void append_python_string(std::string_view text, std::string& out);

// Python's repr(value). REQUIRES: value is finite.
std::string python_double(double value);

}  // namespace baleen
