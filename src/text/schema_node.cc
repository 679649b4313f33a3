#include "text/schema_node.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/check.h"

namespace baleen {
namespace {

constexpr size_t kAlternativesMax = 256;
constexpr size_t kRefDepthMax = 64;

// Say nothing about which values are valid, or only in a way that any reader may leave out.
constexpr auto kAnnotations = std::to_array<std::string_view>({
    "$schema",
    "$id",
    "$anchor",
    "$comment",
    "$defs",
    "definitions",
    "$vocabulary",
    "id",
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "strict",
    "externalDocs",
    "xml",
    "discriminator",
    "markdownDescription",
    "enumDescriptions",
    "additionalItems",
});

// Read by their neighbours below, or by apply() itself.
constexpr auto kConstrained = std::to_array<std::string_view>({
    "type",
    "nullable",
    "enum",
    "const",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "additionalProperties",
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
});

template <size_t N>
bool holds(const std::array<std::string_view, N>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::optional<TypeSet> type_named(std::string_view name) {
    if (name == "null") return kNullType;
    if (name == "boolean") return kBooleanType;
    if (name == "integer") return kIntegerType;
    if (name == "number") return kNumberType;
    if (name == "string") return kStringType;
    if (name == "array") return kArrayType;
    if (name == "object") return kObjectType;
    return std::nullopt;
}

const Json* member(const Json& schema, const char* keyword) {
    const auto it = schema.find(keyword);
    return it == schema.end() ? nullptr : &*it;
}

// One step of a JSON pointer in a URI fragment: %XX, then ~1 and ~0.
std::string unescaped(std::string_view step) {
    std::string bytes;
    for (size_t i = 0; i < step.size(); ++i) {
        unsigned code = 0;
        const auto end = step.data() + std::min(i + 3, step.size());
        const bool is_escape = step[i] == '%' && i + 2 < step.size() &&
                               std::from_chars(step.data() + i + 1, end, code, 16).ptr == end;
        bytes += is_escape ? static_cast<char>(code) : step[i];
        if (is_escape) i += 2;
    }
    std::string result;
    for (size_t i = 0; i < bytes.size(); ++i) {
        const bool is_escape =
            bytes[i] == '~' && i + 1 < bytes.size() && (bytes[i + 1] == '0' || bytes[i + 1] == '1');
        result += !is_escape ? bytes[i] : bytes[++i] == '0' ? '~' : '/';
    }
    return result;
}

// What a $ref within the document points at; null if nothing.
const Json* pointed_at(const Json& root, std::string_view ref) {
    if (!ref.starts_with('#')) return nullptr;
    ref.remove_prefix(1);
    const Json* at = &root;
    while (!ref.empty()) {
        if (ref[0] != '/') return nullptr;
        const size_t end = std::min(ref.find('/', 1), ref.size());
        const std::string step = unescaped(ref.substr(1, end - 1));
        ref.remove_prefix(end);
        if (at->is_object()) {
            const auto it = at->find(step);
            if (it == at->end()) return nullptr;
            at = &*it;
        } else if (at->is_array()) {
            size_t idx = 0;
            const auto parsed = std::from_chars(step.data(), step.data() + step.size(), idx);
            const bool is_whole = !step.empty() && parsed.ptr == step.data() + step.size();
            if (!is_whole || idx >= at->size()) return nullptr;
            at = &(*at)[idx];
        } else {
            return nullptr;
        }
    }
    return at;
}

void append_new(SchemaList& list, const SchemaList& more) {
    for (const Json* schema : more)
        if (std::find(list.begin(), list.end(), schema) == list.end()) list.push_back(schema);
}

}  // namespace

TypeSet json_type(const Json& value) {
    if (value.is_null()) return kNullType;
    if (value.is_boolean()) return kBooleanType;
    if (value.is_string()) return kStringType;
    if (value.is_array()) return kArrayType;
    if (value.is_object()) return kObjectType;
    const bool is_whole =
        value.is_number_integer() || value.get<double>() == std::floor(value.get<double>());
    return is_whole ? kIntegerType : kFractionType;
}

const SchemaList* SchemaNode::find_property(const std::string& name) const {
    for (const auto& [known, schemas] : properties)
        if (known == name) return &schemas;
    return nullptr;
}

bool is_closed(const SchemaNode& node) {
    return node.additional && std::any_of(node.additional->begin(), node.additional->end(),
                                          [](const Json* schema) { return *schema == false; });
}

const Json& SchemaDocument::never() {
    static const Json schema(false);
    return schema;
}

// Applies schemas to a list of alternatives.
class SchemaReader {
  public:
    explicit SchemaReader(SchemaDocument& document) : document_(document) {}

    using Nodes = std::vector<SchemaNode>;
    Result<void> apply(const Json& schema, Nodes& nodes);

  private:
    Result<void> apply_keywords(const Json& schema, SchemaNode& node);
    Result<void> apply_types(const Json& schema, SchemaNode& node);
    Result<void> apply_values(const Json& schema, SchemaNode& node);
    Result<void> apply_text_limits(const Json& schema, SchemaNode& node);
    Result<void> apply_number_limits(const Json& schema, SchemaNode& node);
    Result<void> apply_bound(const Json& schema, const char* keyword, bool is_minimum,
                             SchemaNode& node);
    Result<void> apply_items(const Json& schema, SchemaNode& node);
    Result<void> apply_properties(const Json& schema, SchemaNode& node);
    Result<void> apply_ref(const Json& schema, Nodes& nodes);
    Result<void> apply_any_of(const Json& schema, const char* keyword, Nodes& nodes);
    Result<void> check_keywords(const Json& schema) const;
    Result<std::optional<size_t>> count(const Json& schema, const char* keyword) const;
    TypeSet implied_types(const Json& schema) const;
    bool strict() const { return document_.rules().strict; }

    static Error wrong(const char* keyword, const char* expected) {
        return make_error(ErrorCode::kInvalidArgument, "{} is not {}", keyword, expected);
    }

    SchemaDocument& document_;
    std::vector<const Json*> open_refs_;
};

Result<void> SchemaReader::check_keywords(const Json& schema) const {
    if (!strict()) return {};
    for (const auto& [keyword, value] : schema.items()) {
        if (holds(kAnnotations, keyword) || holds(kConstrained, keyword)) continue;
        if (std::string_view(keyword).starts_with("x-")) continue;
        return make_error(ErrorCode::kUnsupported, "keyword \"{}\" cannot be constrained", keyword);
    }
    return {};
}

// Without `type`, keywords of one type leave all others free. Nobody means that; what is accepted
// here is a part of what the schema accepts.
TypeSet SchemaReader::implied_types(const Json& schema) const {
    for (const char* keyword : {"enum", "const", "anyOf", "oneOf", "allOf", "$ref"})
        if (schema.contains(keyword)) return kAllTypes;
    if (schema.contains("properties") || schema.contains("required") ||
        schema.contains("additionalProperties"))
        return kObjectType;
    if (schema.contains("items") || schema.contains("prefixItems")) return kArrayType;
    if (schema.contains("pattern") || schema.contains("minLength") || schema.contains("maxLength"))
        return kStringType;
    return kAllTypes;
}

Result<void> SchemaReader::apply_types(const Json& schema, SchemaNode& node) {
    const Json* type = member(schema, "type");
    if (type == nullptr) {
        node.types &= implied_types(schema);
        return {};
    }
    std::vector<Json> names = {*type};
    if (type->is_array()) names.assign(type->begin(), type->end());
    TypeSet types = 0;
    for (const Json& name : names) {
        if (!name.is_string()) return wrong("type", "a string or a list of strings");
        const std::optional<TypeSet> known = type_named(name.get_ref<const std::string&>());
        if (!known && strict())
            return make_error(ErrorCode::kInvalidArgument, "type \"{}\" is unknown",
                              name.get_ref<const std::string&>());
        types |= known.value_or(kAllTypes);
    }
    const Json* nullable = member(schema, "nullable");
    if (nullable != nullptr && nullable->is_boolean() && nullable->get<bool>()) types |= kNullType;
    node.types &= types;
    return {};
}

Result<void> SchemaReader::apply_values(const Json& schema, SchemaNode& node) {
    std::vector<Json> values;
    const Json* list = member(schema, "enum");
    const Json* only = member(schema, "const");
    if (list == nullptr && only == nullptr) return {};
    if (list != nullptr) {
        if (!list->is_array() || list->empty()) return wrong("enum", "a list of values");
        values.assign(list->begin(), list->end());
        if (only != nullptr) std::erase_if(values, [only](const Json& v) { return v != *only; });
    } else {
        values.push_back(*only);
    }
    if (node.values)
        std::erase_if(values, [&node](const Json& value) {
            return std::find(node.values->begin(), node.values->end(), value) == node.values->end();
        });
    node.values = std::move(values);
    return {};
}

Result<std::optional<size_t>> SchemaReader::count(const Json& schema, const char* keyword) const {
    const Json* value = member(schema, keyword);
    if (value == nullptr || (value->is_null() && !strict())) return std::optional<size_t>();
    const bool is_whole = value->is_number() && value->get<double>() >= 0 &&
                          value->get<double>() < 1e15 &&
                          value->get<double>() == std::floor(value->get<double>());
    if (!is_whole) return wrong(keyword, "a natural number");
    return std::optional<size_t>(static_cast<size_t>(value->get<double>()));
}

Result<void> SchemaReader::apply_text_limits(const Json& schema, SchemaNode& node) {
    if (const auto min = TRY(count(schema, "minLength")))
        node.length_min = std::max(node.length_min, *min);
    if (const auto max = TRY(count(schema, "maxLength")))
        node.length_max = std::min(node.length_max.value_or(*max), *max);
    if (const Json* pattern = member(schema, "pattern")) {
        if (!pattern->is_string()) return wrong("pattern", "a string");
        node.patterns.push_back(pattern->get<std::string>());
    }
    return {};
}

Result<void> SchemaReader::apply_bound(const Json& schema, const char* keyword, bool is_minimum,
                                       SchemaNode& node) {
    const Json* value = member(schema, keyword);
    if (value == nullptr || value->is_boolean() || value->is_null()) return {};
    if (!value->is_number()) return wrong(keyword, "a number");
    const bool is_exclusive = std::string_view(keyword).starts_with("exclusive");
    const double bound = value->get<double>();
    std::optional<double>& held = is_minimum ? node.minimum : node.maximum;
    bool& exclusive = is_minimum ? node.exclusive_minimum : node.exclusive_maximum;
    const bool is_tighter = !held || (is_minimum ? bound > *held : bound < *held);
    if (is_tighter) exclusive = is_exclusive;
    if (held && bound == *held) exclusive |= is_exclusive;
    if (is_tighter) held = bound;
    return {};
}

Result<void> SchemaReader::apply_number_limits(const Json& schema, SchemaNode& node) {
    TRY(apply_bound(schema, "minimum", true, node));
    TRY(apply_bound(schema, "exclusiveMinimum", true, node));
    TRY(apply_bound(schema, "maximum", false, node));
    TRY(apply_bound(schema, "exclusiveMaximum", false, node));
    // Draft 4: exclusiveMinimum: true makes minimum exclusive.
    const auto is_true = [&schema](const char* keyword) {
        const Json* value = member(schema, keyword);
        return value != nullptr && value->is_boolean() && value->get<bool>();
    };
    if (is_true("exclusiveMinimum")) node.exclusive_minimum = true;
    if (is_true("exclusiveMaximum")) node.exclusive_maximum = true;
    return {};
}

Result<void> SchemaReader::apply_items(const Json& schema, SchemaNode& node) {
    if (const auto min = TRY(count(schema, "minItems")))
        node.items_min = std::max(node.items_min, *min);
    if (const auto max = TRY(count(schema, "maxItems")))
        node.items_max = std::min(node.items_max.value_or(*max), *max);
    const Json* items = member(schema, "items");
    const Json* prefix = member(schema, "prefixItems");
    const Json* rest = items;
    if (items != nullptr && items->is_array()) {  // before draft 2020-12
        prefix = items;
        rest = member(schema, "additionalItems");
    }
    if (prefix != nullptr && !prefix->is_array()) return wrong("prefixItems", "a list of schemas");
    const size_t num_own = prefix == nullptr ? 0 : prefix->size();
    const size_t num_both = std::max(num_own, node.prefix_items.size());
    for (size_t i = 0; i < num_both; ++i) {
        if (i == node.prefix_items.size()) node.prefix_items.push_back(node.items);
        if (i < num_own)
            append_new(node.prefix_items[i], {&(*prefix)[i]});
        else if (rest != nullptr)
            append_new(node.prefix_items[i], {rest});
    }
    if (rest != nullptr) append_new(node.items, {rest});
    return {};
}

Result<void> SchemaReader::apply_properties(const Json& schema, SchemaNode& node) {
    const Json* properties = member(schema, "properties");
    const Json* required = member(schema, "required");
    const Json* additional = member(schema, "additionalProperties");
    if (properties != nullptr && !properties->is_object()) return wrong("properties", "an object");
    for (auto& [name, schemas] : node.properties) {
        const bool is_own = properties != nullptr && properties->contains(name);
        if (!is_own && additional != nullptr) append_new(schemas, {additional});
    }
    if (properties != nullptr)
        for (const auto& [name, value] : properties->items()) {
            SchemaList schemas = {&value};
            if (node.find_property(name) != nullptr) {
                for (auto& [known, held] : node.properties)
                    if (known == name) append_new(held, schemas);
                continue;
            }
            if (node.additional) append_new(schemas, *node.additional);
            node.properties.emplace_back(name, std::move(schemas));
        }
    if (node.properties.size() > kSchemaMembersMax)
        return make_error(ErrorCode::kUnsupported, "properties has more than {} members",
                          kSchemaMembersMax);
    if (additional != nullptr) {
        SchemaList all = node.additional.value_or(SchemaList());
        append_new(all, {additional});
        node.additional = std::move(all);
    }
    if (required == nullptr || (required->is_boolean() && !strict())) return {};
    if (!required->is_array()) return wrong("required", "a list of names");
    for (const Json& name : *required) {
        if (!name.is_string()) return wrong("required", "a list of names");
        node.required.insert(name.get<std::string>());
    }
    return {};
}

Result<void> SchemaReader::apply_keywords(const Json& schema, SchemaNode& node) {
    TRY(apply_types(schema, node));
    TRY(apply_values(schema, node));
    TRY(apply_text_limits(schema, node));
    TRY(apply_number_limits(schema, node));
    TRY(apply_items(schema, node));
    return apply_properties(schema, node);
}

Result<void> SchemaReader::apply_ref(const Json& schema, Nodes& nodes) {
    const Json* ref = member(schema, "$ref");
    if (ref == nullptr) return {};
    if (!ref->is_string()) return wrong("$ref", "a string");
    const std::string& text = ref->get_ref<const std::string&>();
    const Json* target = pointed_at(document_.root(), text);
    if (target == nullptr) {
        if (!strict()) return {};
        return make_error(ErrorCode::kUnsupported, "$ref \"{}\" is not in this document", text);
    }
    // Satisfied by whatever satisfies it: nothing comes of that.
    if (std::find(open_refs_.begin(), open_refs_.end(), target) != open_refs_.end()) {
        nodes.clear();
        return {};
    }
    if (open_refs_.size() >= kRefDepthMax)
        return make_error(ErrorCode::kUnsupported, "$ref leads through more than {} others",
                          kRefDepthMax);
    open_refs_.push_back(target);
    TRY(apply(*target, nodes));
    open_refs_.pop_back();
    return {};
}

Result<void> SchemaReader::apply_any_of(const Json& schema, const char* keyword, Nodes& nodes) {
    const Json* list = member(schema, keyword);
    if (list == nullptr) return {};
    if (!list->is_array() || list->empty()) return wrong(keyword, "a list of schemas");
    Nodes all;
    for (const Json& alternative : *list) {
        Nodes some = nodes;
        TRY(apply(alternative, some));
        all.insert(all.end(), std::make_move_iterator(some.begin()),
                   std::make_move_iterator(some.end()));
        if (all.size() > kAlternativesMax)
            return make_error(ErrorCode::kUnsupported, "{} makes more than {} alternatives",
                              keyword, kAlternativesMax);
    }
    nodes = std::move(all);
    return {};
}

Result<void> SchemaReader::apply(const Json& schema, Nodes& nodes) {
    if (schema.is_boolean()) {
        if (!schema.get<bool>()) nodes.clear();
        return {};
    }
    if (!schema.is_object())
        return make_error(ErrorCode::kInvalidArgument, "{} is not a schema",
                          dump_json(schema).substr(0, 40));
    const size_t cost = 1 + nodes.size();
    if (document_.steps_left_ < cost)
        return make_error(ErrorCode::kExhausted, "needs more than {} steps to resolve",
                          kSchemaStepsMax);
    document_.steps_left_ -= cost;
    TRY(check_keywords(schema));
    for (SchemaNode& node : nodes) TRY(apply_keywords(schema, node));
    TRY(apply_ref(schema, nodes));
    if (const Json* list = member(schema, "allOf")) {
        if (!list->is_array()) return wrong("allOf", "a list of schemas");
        for (const Json& part : *list) TRY(apply(part, nodes));
    }
    TRY(apply_any_of(schema, "anyOf", nodes));
    return apply_any_of(schema, "oneOf", nodes);
}

Result<std::vector<SchemaNode>> SchemaDocument::normal_form(const SchemaList& schemas) {
    std::vector<SchemaNode> nodes(1);
    SchemaReader reader(*this);
    for (const Json* schema : schemas) TRY(reader.apply(*schema, nodes));
    for (SchemaNode& node : nodes) {
        if (node.values)
            std::erase_if(*node.values,
                          [&node](const Json& v) { return (json_type(v) & node.types) == 0; });
        for (const std::string& name : node.required)
            if (node.find_property(name) == nullptr)
                node.properties.emplace_back(name, node.additional.value_or(SchemaList()));
        if (rules_.closed_objects && !node.properties.empty() && !node.additional)
            node.additional = SchemaList{&never()};
    }
    return nodes;
}

}  // namespace baleen
