#include "text/arguments_wrapper.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "text/argument_json.h"
#include "text/schema_node.h"

namespace baleen {
namespace {

constexpr std::string_view kBlank = " \t\n\r";

bool may_have(const SchemaNode& node, const std::string& parameter) {
    return !is_closed(node) || node.find_property(parameter) != nullptr;
}

}  // namespace

bool is_wrapper_name(const ToolSchema& tool, std::string_view parameter) {
    if (parameter != "arguments" && parameter != "input") return false;
    if (tool.parameters.size() > kSchemaBytesMax) return false;
    const Result<Json> schema = parse_json(tool.parameters);
    if (!schema || !schema->is_object()) return false;
    SchemaDocument document(*schema, {.closed_objects = true});
    const auto nodes = document.normal_form({&document.root()});
    return nodes && !nodes->empty() && std::ranges::none_of(*nodes, [&](const SchemaNode& node) {
               return may_have(node, std::string(parameter));
           });
}

void ArgumentsWrapper::add_text(std::string_view text) {
    if (!is_open()) return;
    if (text_.empty()) text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
    text_ += text;
    if (!text_.empty() && text_.front() != '{') give_up();
}

std::string ArgumentsWrapper::pass(std::string piece) {
    if (state_ == State::kPassing) return piece;
    held_ += piece;
    if (state_ == State::kHolding) return "";
    state_ = State::kPassing;
    text_.clear();
    return std::exchange(held_, {});
}

std::optional<std::string> ArgumentsWrapper::close() {
    const std::string_view object = trimmed(text_);
    if (!is_open() || object.empty() || !is_json_value(object)) {
        give_up();
        return std::nullopt;
    }
    std::string inside(object);
    *this = ArgumentsWrapper();
    return inside;
}

std::string decoded_once(std::string_view json) {
    const auto value = parse_sorted_json(json);
    return value && value->is_string() ? value->get<std::string>() : std::string(json);
}

}  // namespace baleen
