#include "text/call_grammar.h"

#include <algorithm>
#include <utility>

#include "text/member_list.h"

namespace baleen {

Result<CallGrammar> CallGrammar::make(RuleSet& rules, Dialect dialect) {
    JsonRules json = TRY(JsonRules::make(rules, JsonLayout::kCompact, {kDsml}));
    CallGrammar grammar(rules, std::move(json));
    TRY(grammar.add_shared_rules(dialect));
    return grammar;
}

// before, the control token, and after.
uint32_t CallGrammar::add_tag(Automaton& rule, uint32_t from, std::string_view before,
                              std::string_view after) const {
    const uint32_t marker = rule.add_letter(rule.add_text(from, before), kSymbolDsml);
    return rule.add_text(rule.add_text(marker, space_), after);
}

Result<void> CallGrammar::add_shared_rules(Dialect dialect) {
    space_ = dialect == Dialect::kV41 ? " " : "";
    block_ = dialect == Dialect::kV41 ? "calls>" : "tool_calls>";
    Automaton open_parameter;
    open_parameter.accept(add_tag(open_parameter, 0, "<", "parameter name=\""));
    open_parameter_ = TRY(rules_.add(open_parameter));
    Automaton close_parameter;
    close_parameter.accept(add_tag(close_parameter, 0, "</", "parameter>\n"));
    close_parameter_ = TRY(rules_.add(close_parameter));
    Automaton close_invoke;
    close_invoke.accept(add_tag(close_invoke, 0, "</", "invoke>"));
    close_invoke_ = TRY(rules_.add(close_invoke));
    Automaton any_text;
    const uint32_t text = any_text.embed(0, json_.text());
    any_text.accept(add_tag(any_text, text, "</", "parameter>\n"));
    any_text_ = TRY(rules_.add(any_text));
    return {};
}

// Names are written raw between quotes.
bool CallGrammar::can_be_name(const std::string& name) const {
    const bool is_plain = std::none_of(name.begin(), name.end(), [](char c) {
        return c == '"' || static_cast<uint8_t>(c) < 0x20;
    });
    return !name.empty() && is_plain && json_.may_hold(name);
}

Result<Json> CallGrammar::schema_of(const ToolSchema& tool) const {
    if (!can_be_name(tool.name))
        return make_error(ErrorCode::kUnsupported, "the name cannot be written in a call");
    if (tool.parameters.empty()) return Json::object();
    if (tool.parameters.size() > kSchemaBytesMax)
        return make_error(ErrorCode::kExhausted, "parameters: the schema has {} bytes, at most {}",
                          tool.parameters.size(), kSchemaBytesMax);
    Result<Json> schema = parse_json(tool.parameters);
    if (!schema)
        return make_error(ErrorCode::kInvalidArgument, "parameters: {}", schema.error().message);
    if (schema->is_null()) return Json::object();
    return schema;
}

Result<void> CallGrammar::add_tool(const ToolSchema& tool) {
    const auto add = [&]() -> Result<void> {
        const Json schema = TRY(schema_of(tool));
        SchemaDocument document(schema, {.strict = tool.strict, .closed_objects = true});
        SchemaCompiler compiler(document, json_, rules_);
        Result<std::vector<SchemaNode>> nodes = document.normal_form({&document.root()});
        if (!nodes) return std::move(nodes).error().in("parameters");
        Automaton rule;
        const uint32_t name = rule.add_text(rule.add_text(0, tool.name), "\">\n");
        const uint32_t end = rule.add_state();
        rule.accept(end);
        for (const SchemaNode& node : *nodes)
            if ((node.types & kObjectType) != 0 && !node.values)
                TRY(add_alternative(rule, name, end, node, compiler));
        TRY(compiler.define_pending());
        if (!rule.accepts_anything())
            return make_error(ErrorCode::kInvalidArgument, "parameters is not an object's schema");
        tools_.push_back(TRY(rules_.add(rule)));
        return {};
    };
    Result<void> added = add();
    if (!added) return std::move(added).error().in(fmt::format("tool \"{}\"", tool.name));
    return {};
}

// One way to satisfy the tool's schema: the parameters and the closing tag.
Result<void> CallGrammar::add_alternative(Automaton& rule, uint32_t from, uint32_t to,
                                          const SchemaNode& node, SchemaCompiler& compiler) {
    MemberList list;
    for (const auto& [name, schemas] : node.properties) {
        const bool is_required = node.required.contains(name);
        if (can_be_name(name)) {
            list.members.push_back({TRY(parameter_rule(name, schemas, compiler)), is_required});
        } else if (is_required) {
            return make_error(ErrorCode::kUnsupported,
                              "parameters: the name \"{}\" cannot be written in a call", name);
        }
    }
    if (!is_closed(node)) list.additional = TRY(other_parameter_rule(node, compiler));
    list.any_order = list.members.size() <= kUnorderedParametersMax;
    const uint32_t last = rule.add_state();
    const auto separator = [&](uint32_t state) { return rule.add_call(state, open_parameter_); };
    list.add_to(rule, separator(from), last, separator);
    // Without parameters an empty line stands between the tags.
    if (list.may_be_empty()) rule.add_epsilon(rule.add_letter(from, '\n'), last);
    rule.add_epsilon(rule.add_call(last, close_invoke_), to);
    return {};
}

Result<uint32_t> CallGrammar::parameter_rule(const std::string& name, const SchemaList& schemas,
                                             SchemaCompiler& compiler) {
    Automaton rule;
    const uint32_t after_name = rule.add_text(0, name);
    TRY(add_parameter_rest(rule, after_name, schemas, compiler,
                           fmt::format("parameters/properties/{}", name)));
    return rules_.add(rule);
}

Result<uint32_t> CallGrammar::other_parameter_rule(const SchemaNode& node,
                                                   SchemaCompiler& compiler) {
    std::vector<std::string> names;
    for (const auto& [name, schemas] : node.properties) names.push_back(name);
    Automaton name_letters;
    const uint32_t last = name_letters.add_state();
    for (const uint32_t from : {0u, last}) {
        name_letters.add_edge(from, 0x20, '"' - 1, last);
        name_letters.add_edge(from, '"' + 1, kLastByte, last);
    }
    name_letters.accept(last);
    const Automaton others = TRY(intersection(json_.text(), complement(one_of(names))));
    const Automaton name = TRY(intersection(others, name_letters));
    Automaton rule;
    const uint32_t after_name = rule.embed(0, name);
    TRY(add_parameter_rest(rule, after_name, node.additional.value_or(SchemaList()), compiler,
                           "parameters/additionalProperties"));
    return rules_.add(rule);
}

// The flag says which form the value has; a value that may be a string or something else has two.
Result<void> CallGrammar::add_parameter_rest(Automaton& rule, uint32_t from,
                                             const SchemaList& schemas, SchemaCompiler& compiler,
                                             const std::string& path) {
    const uint32_t flag = rule.add_text(from, "\" string=\"");
    const uint32_t end = rule.add_state();
    rule.accept(end);
    if (const std::optional<Automaton> strings = TRY(compiler.string_values(schemas, path))) {
        const uint32_t value = rule.add_text(flag, "true\">");
        if (strings->is_any_bytes()) {
            rule.add_epsilon(rule.add_call(value, any_text_), end);
        } else {
            const uint32_t after = rule.embed(value, TRY(intersection(*strings, json_.text())));
            rule.add_epsilon(rule.add_call(after, close_parameter_), end);
        }
    }
    const uint32_t value = rule.add_text(flag, "false\">");
    const auto types = static_cast<TypeSet>(kAllTypes & ~kStringType);
    const uint32_t after = TRY(compiler.add_value(rule, value, schemas, types, path));
    rule.add_epsilon(rule.add_call(after, close_parameter_), end);
    return {};
}

Result<uint32_t> CallGrammar::add_block(Automaton& rule, uint32_t from, bool parallel) {
    const uint32_t marker = rule.add_letter(from, kSymbolDsml);
    const uint32_t first =
        rule.add_text(rule.add_text(rule.add_text(marker, space_), block_), "\n");
    Automaton invoke;
    const uint32_t name = add_tag(invoke, 0, "<", "invoke name=\"");
    const uint32_t end = invoke.add_state();
    for (const uint32_t tool : tools_) invoke.add_epsilon(invoke.add_call(name, tool), end);
    invoke.accept(end);
    const uint32_t after = rule.add_call(first, TRY(rules_.add(invoke)));
    const uint32_t next = rule.add_letter(after, '\n');
    if (parallel) rule.add_epsilon(next, first);
    return add_tag(rule, next, "</", block_);
}

}  // namespace baleen
