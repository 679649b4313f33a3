// The grammar of JSON as it is written here: compact, with at most one blank after a comma or
// colon, or with new lines and indents of bounded size. No blank may be repeated without end, no
// number may have digits without end: models loop on both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/grammar.h"

namespace baleen {

// Sets of JSON types. A number without fraction is both kInteger's and a number.
using TypeSet = uint8_t;
inline constexpr TypeSet kNullType = 1;
inline constexpr TypeSet kBooleanType = 2;
inline constexpr TypeSet kIntegerType = 4;
inline constexpr TypeSet kFractionType = 8;  // other numbers
inline constexpr TypeSet kStringType = 16;
inline constexpr TypeSet kArrayType = 32;
inline constexpr TypeSet kObjectType = 64;
inline constexpr TypeSet kNumberType = kIntegerType | kFractionType;
inline constexpr TypeSet kAllTypes = 127;

enum class JsonLayout : uint8_t { kCompact, kIndented };

class JsonRules {
  public:
    static constexpr int kIndentMax = 40;
    static constexpr int kIntegerDigitsMax = 18;
    static constexpr int kFractionDigitsMax = 17;

    // forbidden: texts that no string may spell, as bytes of the text. rules must outlive this.
    static Result<JsonRules> make(RuleSet& rules, JsonLayout layout,
                                  std::vector<std::string_view> forbidden);

    // UTF-8 without the forbidden texts.
    const Automaton& text() const { return text_; }
    bool may_hold(std::string_view text) const { return text_.accepts(text); }
    // The JSON strings whose values are of this set of byte strings. REQUIRES: deterministic.
    Result<Automaton> quoted(const Automaton& set) const;

    uint32_t string() const { return string_; }  // rules
    uint32_t integer() const { return integer_; }
    uint32_t number() const { return number_; }
    uint32_t array() const { return array_; }  // of anything
    uint32_t object() const { return object_; }
    uint32_t any() const { return any_; }

    // These go on from a state and return the one they lead to, always a new one.
    uint32_t add_any(Automaton& rule, uint32_t from, TypeSet types) const;
    // None when the value holds a forbidden text.
    std::optional<uint32_t> add_value(Automaton& rule, uint32_t from, const Json& value) const;
    uint32_t add_comma(Automaton& rule, uint32_t from) const;
    uint32_t add_colon(Automaton& rule, uint32_t from) const;
    // After an opening bracket, before a closing one.
    uint32_t add_space(Automaton& rule, uint32_t from) const;

  private:
    JsonRules(RuleSet& rules, JsonLayout layout) : rules_(rules), layout_(layout) {}
    Result<void> add_rules();
    Automaton array_rule() const;
    Automaton object_rule() const;

    RuleSet& rules_;
    JsonLayout layout_;
    Automaton text_;
    uint32_t string_ = 0, integer_ = 0, number_ = 0, array_ = 0, object_ = 0, any_ = 0;
    uint32_t space_ = 0;
};

// A bound of numbers: decimal digits, without leading zeros before the point.
struct NumberBound {
    int64_t whole = 0;
    std::string fraction;  // digits after the point
    bool is_exclusive = false;
};

// The numbers from min to max, both not negative, written without exponent; with_fractions: else
// only integers. No max: up to kIntegerDigitsMax digits. from: where they begin in rule; the
// places where they may end are accepting. REQUIRES: wholes of at most kIntegerDigitsMax digits.
void add_numbers_between(Automaton& rule, uint32_t from, const NumberBound& min,
                         const NumberBound& max, bool with_fractions);

}  // namespace baleen
