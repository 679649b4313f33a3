// JSON Schema to grammar rules (docs/constraints.md).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/grammar.h"
#include "text/json_rules.h"
#include "text/schema_node.h"

namespace baleen {

// Longest minLength, maxLength, minItems and maxItems that are counted.
inline constexpr size_t kCountedLengthMax = 2000;
inline constexpr size_t kCountedItemsMax = 500;
// Uses of `pattern` in one document.
inline constexpr size_t kPatternsMax = 64;
// Members of an object that may come in any order.
inline constexpr size_t kUnorderedMembersMax = 6;

// Compiles the schemas of one document. All must outlive it.
class SchemaCompiler {
  public:
    SchemaCompiler(SchemaDocument& document, const JsonRules& json, RuleSet& rules)
        : document_(document), json_(json), rules_(rules) {}

    // Goes on from a state with a JSON value that satisfies the schemas and is of one of the
    // types; returns the state it leads to. path: of the schemas in the document, for messages.
    Result<uint32_t> add_value(Automaton& rule, uint32_t from, const SchemaList& schemas,
                               TypeSet types, const std::string& path);

    // The string values that satisfy the schemas, as raw text (deterministic). None: no string
    // does.
    Result<std::optional<Automaton>> string_values(const SchemaList& schemas,
                                                   const std::string& path);

    // Defines the rules that the calls above, and this, have come to need.
    Result<void> define_pending();

  private:
    struct Pending {
        uint32_t rule;
        SchemaList schemas;
        TypeSet types;
        std::string path;
    };
    // Where one node of a schema is being written.
    struct Place {
        Automaton& rule;
        uint32_t from, to;
        const std::string& path;
    };

    Result<void> add_node(const Place& place, const SchemaNode& node, TypeSet types);
    Result<void> add_values(const Place& place, const SchemaNode& node, TypeSet types);
    Result<void> add_number(const Place& place, const SchemaNode& node, TypeSet types);
    Result<void> add_string(const Place& place, const SchemaNode& node);
    Result<void> add_array(const Place& place, const SchemaNode& node);
    Result<void> add_object(const Place& place, const SchemaNode& node);
    Result<uint32_t> member_rule(const std::string& name, const SchemaList& schemas,
                                 const std::string& path);
    Result<uint32_t> other_member_rule(const SchemaNode& node, const std::string& path);
    // The rule of a value, written later: schemas may be recursive.
    uint32_t value_rule(const SchemaList& schemas, TypeSet types, const std::string& path);

    // All strings that satisfy length and pattern; what is not countable is an error if strict.
    Result<Automaton> string_set(const SchemaNode& node, const std::string& path);
    Result<Automaton> with_pattern(const Automaton& set, const std::string& pattern);
    Result<bool> counts(std::optional<size_t> limit, size_t limit_max, const char* keyword,
                        const std::string& path) const;

    SchemaDocument& document_;
    const JsonRules& json_;
    RuleSet& rules_;
    std::map<std::pair<SchemaList, TypeSet>, uint32_t> value_rules_;
    std::map<std::tuple<size_t, std::optional<size_t>, std::vector<std::string>>, uint32_t>
        string_rules_;
    std::deque<Pending> pending_;
    size_t patterns_left_ = kPatternsMax;
};

// Whether a node says nothing about strings but their type.
bool is_any_string(const SchemaNode& node);

}  // namespace baleen
