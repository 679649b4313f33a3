// The grammar of tool calls as text (spec/chat-encoding.md, section 8), in the canonical form that
// the strict parser reads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/chat.h"
#include "text/grammar.h"
#include "text/json_rules.h"
#include "text/json_schema.h"
#include "text/output_constraint.h"

namespace baleen {

// Parameters of a tool that may come in any order.
inline constexpr size_t kUnorderedParametersMax = 9;

class CallGrammar {
  public:
    static Result<CallGrammar> make(RuleSet& rules, Dialect dialect);

    // kInvalidArgument, kUnsupported, kExhausted: the message begins with the tool's name.
    Result<void> add_tool(const ToolSchema& tool);

    // Goes on from a state that stands after the "<" of the block's opening tag; returns the state
    // after its closing tag. REQUIRES: at least one tool.
    Result<uint32_t> add_block(Automaton& rule, uint32_t from, bool parallel);

  private:
    CallGrammar(RuleSet& rules, JsonRules json) : rules_(rules), json_(std::move(json)) {}
    Result<void> add_shared_rules(Dialect dialect);
    Result<Json> schema_of(const ToolSchema& tool) const;
    Result<void> add_alternative(Automaton& rule, uint32_t from, uint32_t to,
                                 const SchemaNode& node, SchemaCompiler& compiler);
    Result<uint32_t> parameter_rule(const std::string& name, const SchemaList& schemas,
                                    SchemaCompiler& compiler);
    Result<uint32_t> other_parameter_rule(const SchemaNode& node, SchemaCompiler& compiler);
    // From after the parameter's name to after its closing tag and new line.
    Result<void> add_parameter_rest(Automaton& rule, uint32_t from, const SchemaList& schemas,
                                    SchemaCompiler& compiler, const std::string& path);
    bool can_be_name(const std::string& name) const;
    uint32_t add_tag(Automaton& rule, uint32_t from, std::string_view before,
                     std::string_view after) const;

    RuleSet& rules_;
    JsonRules json_;
    std::string_view space_;        // in front of tag names
    std::string_view block_;        // the block's tag name
    uint32_t open_parameter_ = 0;   // <DSML parameter name="
    uint32_t close_parameter_ = 0;  // </DSML parameter> and a new line
    uint32_t close_invoke_ = 0;
    uint32_t any_text_ = 0;  // a value of any text, with its closing tag and new line
    std::vector<uint32_t> tools_;
};

}  // namespace baleen
