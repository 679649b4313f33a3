#include "text/dsml_writer.h"

#include <optional>

#include "text/json_text.h"
#include "text/prompt_strings.h"

namespace baleen {
namespace {

void open_tag(std::string_view tag, PromptWriter& out) {
    out.text("<");
    out.control(kDsml);
    out.text(tag);
}

void close_tag(std::string_view tag, PromptWriter& out) {
    out.text("</");
    out.control(kDsml);
    out.text(tag);
    out.text(">");
}

// No value: not JSON. The other errors of parsing stay errors.
Result<std::optional<JsonText>> json_in(const std::string& text) {
    Result<JsonText> value = JsonText::parse(text);
    if (value) return std::optional(*std::move(value));
    if (value.error().code == ErrorCode::kCorrupt) return std::optional<JsonText>();
    return std::move(value).error();
}

// The object that the arguments are; no value: the text itself is the only argument.
Result<std::optional<JsonText>> arguments_object(const std::string& text, Dialect dialect) {
    std::optional<JsonText> value = TRY(json_in(text));
    if (value && value->is_string() && dialect == Dialect::kV41)  // encoded twice
        value = TRY(json_in(value->string()));
    if (!value || value->is_object()) return value;
    if (dialect == Dialect::kV41) return std::optional<JsonText>();
    return make_error(ErrorCode::kInvalidArgument, "arguments are {}, expected a JSON object",
                      kind_name(value->kind()));
}

void write_parameter(std::string_view name, std::string_view value, bool is_string,
                     const DsmlTags& tags, PromptWriter& out) {
    open_tag(tags.parameter, out);
    out.text(" name=\"");
    out.text(name);
    out.text(is_string ? "\" string=\"true\">" : "\" string=\"false\">");
    out.text(value);
    close_tag(tags.parameter, out);
}

void write_parameters(const JsonText& object, const DsmlTags& tags, PromptWriter& out) {
    bool is_first = true;
    for (const auto& [name, value] : object.members()) {
        if (!is_first) out.text("\n");
        is_first = false;
        if (value.is_string())
            write_parameter(name, value.string(), true, tags, out);
        else
            write_parameter(name, value.dump_python(), false, tags, out);
    }
}

Result<void> write_call(const ToolCall& call, Dialect dialect, PromptWriter& out) {
    const DsmlTags& tags = dsml_tags(dialect);
    open_tag(tags.invoke, out);
    out.text(" name=\"");
    out.text(call.name);
    out.text("\">\n");
    if (const auto object = TRY(arguments_object(call.arguments, dialect)))
        write_parameters(*object, tags, out);
    else
        write_parameter("arguments", call.arguments, true, tags, out);
    out.text("\n");
    close_tag(tags.invoke, out);
    return {};
}

}  // namespace

Result<void> write_calls(const std::vector<ToolCall>& calls, Dialect dialect, PromptWriter& out) {
    const DsmlTags& tags = dsml_tags(dialect);
    open_tag(tags.calls, out);
    out.text(">\n");
    for (size_t i = 0; i < calls.size(); ++i) {
        Result<void> written = write_call(calls[i], dialect, out);
        if (!written) return std::move(written).error().in(fmt::format("tool_calls[{}]", i));
        out.text("\n");
    }
    close_tag(tags.calls, out);
    return {};
}

}  // namespace baleen
