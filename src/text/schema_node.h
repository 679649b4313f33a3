// JSON Schema in a normal form: what a value must satisfy, with $ref, allOf and anyOf resolved.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/json_rules.h"

namespace baleen {

// Limits of one schema: its text, the members of one object, and how often a schema is applied
// while normal forms are made (each use of a $ref counts).
inline constexpr size_t kSchemaBytesMax = size_t{256} << 10;
inline constexpr size_t kSchemaMembersMax = 1000;
inline constexpr size_t kSchemaStepsMax = 200'000;

// How schemas are read.
struct SchemaRules {
    // Keywords that cannot be constrained are an error; else they are left to the model.
    bool strict = false;
    // Objects with `properties` and without `additionalProperties` have no other members.
    bool closed_objects = false;
    // Members come in the order of the schema; else in any order, for objects of few members.
    bool ordered_members = false;
};

// Schemas that must all hold, in order; they point into one document. Empty: any value.
using SchemaList = std::vector<const Json*>;

// One way to satisfy a SchemaList.
struct SchemaNode {
    TypeSet types = kAllTypes;
    std::optional<std::vector<Json>> values;  // enum and const

    size_t length_min = 0;
    std::optional<size_t> length_max;
    std::vector<std::string> patterns;

    std::optional<double> minimum, maximum;
    bool exclusive_minimum = false, exclusive_maximum = false;

    std::vector<SchemaList> prefix_items;
    SchemaList items;
    size_t items_min = 0;
    std::optional<size_t> items_max;

    std::vector<std::pair<std::string, SchemaList>> properties;
    std::set<std::string> required;
    std::optional<SchemaList> additional;  // what other members must satisfy

    const SchemaList* find_property(const std::string& name) const;
};

// No members but the listed ones.
bool is_closed(const SchemaNode& node);

// The one type that a value has.
TypeSet json_type(const Json& value);

// One schema text. Everything that points into it lives as long as this.
class SchemaDocument {
  public:
    // REQUIRES: root outlives this.
    SchemaDocument(const Json& root, const SchemaRules& rules) : root_(root), rules_(rules) {}

    const SchemaRules& rules() const { return rules_; }
    const Json& root() const { return root_; }

    // The ways to satisfy all of the schemas; none: it cannot be done. kInvalidArgument,
    // kUnsupported, kExhausted: the message names path and keyword.
    Result<std::vector<SchemaNode>> normal_form(const SchemaList& schemas);

    // A schema that nothing satisfies.
    static const Json& never();

  private:
    friend class SchemaReader;
    const Json& root_;
    SchemaRules rules_;
    size_t steps_left_ = kSchemaStepsMax;
};

}  // namespace baleen
