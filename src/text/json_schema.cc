#include "text/json_schema.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "text/member_list.h"
#include "text/pattern.h"

namespace baleen {
namespace {

constexpr int64_t kIntegerMax = 999'999'999'999'999'999;  // 18 digits

bool is_unbounded(const SchemaNode& node) {
    return !node.minimum && !node.maximum;
}

// The size of a bound, if it can be written in few decimals. nullopt: it cannot.
std::optional<NumberBound> bound_of(double size, bool is_exclusive) {
    NumberBound bound;
    bound.is_exclusive = is_exclusive;
    const std::string text = fmt::format("{:.17g}", size) == fmt::format("{:.0f}", size)
                                 ? fmt::format("{:.0f}", size)
                                 : fmt::format("{}", size);
    if (text.find_first_not_of("0123456789.") != text.npos) return std::nullopt;
    const size_t point = std::min(text.find('.'), text.size());
    if (point > JsonRules::kIntegerDigitsMax) return std::nullopt;
    std::from_chars(text.data(), text.data() + point, bound.whole);
    if (point < text.size()) bound.fraction = text.substr(point + 1);
    if (bound.fraction.size() > JsonRules::kFractionDigitsMax) return std::nullopt;
    return bound;
}

// Numbers between the node's bounds (deterministic). nullopt: a bound cannot be written.
Result<std::optional<Automaton>> numbers_within(const SchemaNode& node, bool with_fractions) {
    const double min = node.minimum.value_or(-static_cast<double>(kIntegerMax));
    const double max = node.maximum.value_or(static_cast<double>(kIntegerMax));
    const NumberBound zero;
    const NumberBound largest{kIntegerMax, "", false};
    Automaton rule;
    if (max >= 0) {
        const auto low = min <= 0 ? std::optional(zero) : bound_of(min, node.exclusive_minimum);
        const auto high =
            max >= 1e18 ? std::optional(largest) : bound_of(max, node.exclusive_maximum);
        if (!low || !high) return std::optional<Automaton>();
        NumberBound from = *low;
        if (min == 0) from.is_exclusive = node.exclusive_minimum && node.minimum;
        add_numbers_between(rule, 0, from, *high, with_fractions);
    }
    if (min < 0) {
        const auto low = max >= 0 ? std::optional(zero) : bound_of(-max, node.exclusive_maximum);
        const auto high =
            min <= -1e18 ? std::optional(largest) : bound_of(-min, node.exclusive_minimum);
        if (!low || !high) return std::optional<Automaton>();
        NumberBound from = *low;
        if (max >= 0) from.is_exclusive = true;  // zero has no sign
        add_numbers_between(rule, rule.add_letter(0, '-'), from, *high, with_fractions);
    }
    return std::optional(TRY(determinised(rule)));
}

bool is_within(const SchemaNode& node, const Json& value) {
    if (value.is_number()) {
        const double number = value.get<double>();
        if (node.minimum &&
            (number < *node.minimum || (node.exclusive_minimum && number == *node.minimum)))
            return false;
        return !(node.maximum &&
                 (number > *node.maximum || (node.exclusive_maximum && number == *node.maximum)));
    }
    return true;
}

bool has_structure(const SchemaNode& node, TypeSet types) {
    return !node.values && (node.types & types & (kArrayType | kObjectType)) != 0;
}

// Says nothing at all.
bool is_anything(const SchemaNode& node) {
    return node.types == kAllTypes && !node.values && is_any_string(node) && is_unbounded(node) &&
           node.prefix_items.empty() && node.items.empty() && node.items_min == 0 &&
           !node.items_max && node.properties.empty() && !node.additional;
}

}  // namespace

bool is_any_string(const SchemaNode& node) {
    return node.length_min == 0 && !node.length_max && node.patterns.empty();
}

uint32_t SchemaCompiler::value_rule(const SchemaList& schemas, TypeSet types,
                                    const std::string& path) {
    const auto [it, is_new] = value_rules_.try_emplace({schemas, types}, 0);
    if (is_new) {
        it->second = rules_.reserve();
        pending_.push_back({it->second, schemas, types, path});
    }
    return it->second;
}

Result<void> SchemaCompiler::define_pending() {
    for (; !pending_.empty(); pending_.pop_front()) {
        const Pending& pending = pending_.front();
        Result<std::vector<SchemaNode>> nodes = document_.normal_form(pending.schemas);
        if (!nodes) return std::move(nodes).error().in(pending.path);
        Automaton rule;
        const uint32_t end = rule.add_state();
        rule.accept(end);
        const std::string path = pending.path;
        for (const SchemaNode& node : *nodes)
            TRY(add_node({rule, 0, end, path}, node, pending.types));
        Result<void> defined = rules_.define(pending.rule, rule);
        if (!defined) return std::move(defined).error().in(path);
    }
    return {};
}

Result<uint32_t> SchemaCompiler::add_value(Automaton& rule, uint32_t from,
                                           const SchemaList& schemas, TypeSet types,
                                           const std::string& path) {
    Result<std::vector<SchemaNode>> nodes = document_.normal_form(schemas);
    if (!nodes) return std::move(nodes).error().in(path);
    if (nodes->size() == 1 && is_anything((*nodes)[0])) return json_.add_any(rule, from, types);
    const bool is_recursive =
        std::any_of(nodes->begin(), nodes->end(),
                    [types](const SchemaNode& node) { return has_structure(node, types); });
    if (is_recursive) return rule.add_call(from, value_rule(schemas, types, path));
    const uint32_t to = rule.add_state();
    for (const SchemaNode& node : *nodes) TRY(add_node({rule, from, to, path}, node, types));
    return to;
}

Result<void> SchemaCompiler::add_node(const Place& place, const SchemaNode& node, TypeSet types) {
    types &= node.types;
    if (node.values) return add_values(place, node, types);
    const auto simple = static_cast<TypeSet>(types & (kNullType | kBooleanType));
    place.rule.add_epsilon(json_.add_any(place.rule, place.from, simple), place.to);
    if ((types & kNumberType) != 0) TRY(add_number(place, node, types));
    if ((types & kStringType) != 0) TRY(add_string(place, node));
    if ((types & kArrayType) != 0) TRY(add_array(place, node));
    if ((types & kObjectType) != 0) TRY(add_object(place, node));
    return {};
}

Result<void> SchemaCompiler::add_values(const Place& place, const SchemaNode& node, TypeSet types) {
    const bool has_strings = (types & kStringType) != 0;
    const bool any_string = is_any_string(node);
    const Automaton strings =
        has_strings && !any_string ? TRY(string_set(node, place.path)) : Automaton();
    for (const Json& value : *node.values) {
        if ((json_type(value) & types) == 0 || !is_within(node, value)) continue;
        if (value.is_string() && !any_string && !strings.accepts(value.get<std::string>()))
            continue;
        const auto after = json_.add_value(place.rule, place.from, value);
        if (after) place.rule.add_epsilon(*after, place.to);
    }
    return {};
}

Result<void> SchemaCompiler::add_number(const Place& place, const SchemaNode& node, TypeSet types) {
    const auto add_any = [&] {
        const auto numbers = static_cast<TypeSet>(types & kNumberType);
        place.rule.add_epsilon(json_.add_any(place.rule, place.from, numbers), place.to);
    };
    if (is_unbounded(node)) {
        add_any();
        return {};
    }
    const auto numbers = TRY(numbers_within(node, (types & kFractionType) != 0));
    if (numbers)
        place.rule.add_epsilon(place.rule.embed(place.from, *numbers), place.to);
    else if (!document_.rules().strict)
        add_any();
    else
        return make_error(ErrorCode::kUnsupported,
                          "{}: minimum or maximum has too many digits to be constrained",
                          place.path);
    return {};
}

Result<bool> SchemaCompiler::counts(std::optional<size_t> limit, size_t limit_max,
                                    const char* keyword, const std::string& path) const {
    if (!limit) return false;
    if (*limit <= limit_max) return true;
    if (!document_.rules().strict) return false;
    return make_error(ErrorCode::kUnsupported, "{}: {} is {}, at most {} is constrained", path,
                      keyword, *limit, limit_max);
}

Result<Automaton> SchemaCompiler::with_pattern(const Automaton& set, const std::string& pattern) {
    if (patterns_left_ == 0)
        return make_error(ErrorCode::kExhausted, "more than {} patterns", kPatternsMax);
    --patterns_left_;
    return intersection(set, TRY(pattern_automaton(pattern)));
}

Result<Automaton> SchemaCompiler::string_set(const SchemaNode& node, const std::string& path) {
    const bool has_max = TRY(counts(node.length_max, kCountedLengthMax, "maxLength", path));
    const bool has_min = TRY(counts(node.length_min, kCountedLengthMax, "minLength", path));
    Automaton set = any_bytes();
    if (has_min || has_max)
        set = length_between(has_min ? node.length_min : 0,
                             has_max ? *node.length_max : kNoLengthMax);
    for (const std::string& pattern : node.patterns) {
        Result<Automaton> both = with_pattern(set, pattern);
        if (both)
            set = std::move(both).value();
        else if (document_.rules().strict)
            return std::move(both).error().in(fmt::format("{}: pattern \"{}\"", path, pattern));
    }
    return set;
}

Result<void> SchemaCompiler::add_string(const Place& place, const SchemaNode& node) {
    uint32_t string_rule = json_.string();
    if (!is_any_string(node)) {
        const auto [it, is_new] =
            string_rules_.try_emplace({node.length_min, node.length_max, node.patterns}, 0);
        if (is_new) {
            const Automaton set = TRY(string_set(node, place.path));
            it->second = TRY(rules_.add(TRY(json_.quoted(set))));
        }
        string_rule = it->second;
    }
    place.rule.add_epsilon(place.rule.add_call(place.from, string_rule), place.to);
    return {};
}

Result<void> SchemaCompiler::add_array(const Place& place, const SchemaNode& node) {
    const bool has_max = TRY(counts(node.items_max, kCountedItemsMax, "maxItems", place.path));
    const bool has_min = TRY(counts(node.items_min, kCountedItemsMax, "minItems", place.path));
    if (node.prefix_items.size() > kCountedItemsMax)
        return make_error(ErrorCode::kUnsupported, "{}: prefixItems has {} members, at most {}",
                          place.path, node.prefix_items.size(), kCountedItemsMax);
    const size_t min = has_min ? node.items_min : 0;
    const size_t num_counted =
        has_max ? *node.items_max : std::max(min, node.prefix_items.size()) + 1;
    Automaton& rule = place.rule;
    const uint32_t open = rule.add_letter(place.from, '[');
    const uint32_t end = rule.add_letter(open, ']');
    if (min > 0) rule.states[open].edges.clear();
    rule.add_epsilon(end, place.to);
    uint32_t due = json_.add_space(rule, open);
    for (size_t i = 0; i < num_counted; ++i) {
        const bool in_prefix = i < node.prefix_items.size();
        const std::string path =
            in_prefix ? fmt::format("{}/prefixItems/{}", place.path, i) : place.path + "/items";
        const SchemaList& item = in_prefix ? node.prefix_items[i] : node.items;
        const uint32_t after = rule.add_call(due, value_rule(item, kAllTypes, path));
        if (i + 1 >= min) rule.add_edge(json_.add_space(rule, after), ']', ']', end);
        if (has_max && i + 1 == num_counted) break;
        const uint32_t next = json_.add_comma(rule, after);
        if (!has_max && i + 1 == num_counted) rule.add_epsilon(next, due);
        due = next;
    }
    return {};
}

Result<uint32_t> SchemaCompiler::member_rule(const std::string& name, const SchemaList& schemas,
                                             const std::string& path) {
    Automaton rule;
    const uint32_t key = rule.add_text(0, dump_json(Json(name)));
    const uint32_t value = json_.add_colon(rule, key);
    rule.accept(TRY(add_value(rule, value, schemas, kAllTypes, path + "/properties/" + name)));
    return rules_.add(rule);
}

Result<uint32_t> SchemaCompiler::other_member_rule(const SchemaNode& node,
                                                   const std::string& path) {
    std::vector<std::string> names;
    for (const auto& [name, schemas] : node.properties) names.push_back(name);
    Automaton rule;
    uint32_t key = 0;
    if (names.empty())
        key = rule.add_call(0, json_.string());
    else
        key = rule.embed(0, TRY(json_.quoted(complement(one_of(names)))));
    const uint32_t value = json_.add_colon(rule, key);
    const SchemaList schemas = node.additional.value_or(SchemaList());
    rule.accept(TRY(add_value(rule, value, schemas, kAllTypes, path + "/additionalProperties")));
    return rules_.add(rule);
}

Result<void> SchemaCompiler::add_object(const Place& place, const SchemaNode& node) {
    const bool is_free = node.properties.empty() && (!node.additional || node.additional->empty());
    if (is_free) {
        place.rule.add_epsilon(place.rule.add_call(place.from, json_.object()), place.to);
        return {};
    }
    MemberList list;
    for (const auto& [name, schemas] : node.properties) {
        const bool is_required = node.required.contains(name);
        if (json_.may_hold(name)) {
            list.members.push_back({TRY(member_rule(name, schemas, place.path)), is_required});
        } else if (is_required) {
            return make_error(ErrorCode::kUnsupported, "{}: property \"{}\" cannot be written",
                              place.path, name);
        }
    }
    if (!is_closed(node)) list.additional = TRY(other_member_rule(node, place.path));
    list.any_order =
        !document_.rules().ordered_members && list.members.size() <= kUnorderedMembersMax;
    Automaton& rule = place.rule;
    const uint32_t open = rule.add_letter(place.from, '{');
    const uint32_t last = rule.add_state();
    const uint32_t end = rule.add_letter(json_.add_space(rule, last), '}');
    if (list.may_be_empty()) rule.add_edge(open, '}', '}', end);
    list.add_to(rule, json_.add_space(rule, open), last,
                [&](uint32_t state) { return json_.add_comma(rule, state); });
    rule.add_epsilon(end, place.to);
    return {};
}

Result<std::optional<Automaton>> SchemaCompiler::string_values(const SchemaList& schemas,
                                                               const std::string& path) {
    Result<std::vector<SchemaNode>> nodes = document_.normal_form(schemas);
    if (!nodes) return std::move(nodes).error().in(path);
    Automaton all;
    const uint32_t end = all.add_state();
    all.accept(end);
    bool has_any = false;
    for (const SchemaNode& node : *nodes) {
        if ((node.types & kStringType) == 0) continue;
        if (!node.values && is_any_string(node)) return std::optional(any_bytes());
        Automaton set = TRY(string_set(node, path));
        if (node.values) {
            std::vector<std::string> texts;
            for (const Json& value : *node.values)
                if (value.is_string()) texts.push_back(value.get<std::string>());
            set = TRY(intersection(set, one_of(texts)));
        }
        if (!set.accepts_anything()) continue;
        all.add_epsilon(all.embed(0, set), end);
        has_any = true;
    }
    if (!has_any) return std::optional<Automaton>();
    return std::optional(TRY(determinised(all)));
}

}  // namespace baleen
