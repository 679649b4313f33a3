#include "text/tool_namespace.h"

#include <optional>

namespace baleen {
namespace {

constexpr std::string_view kSeparator = "::";

Result<std::string> name_of_space(const JsonText& space) {
    const JsonText* name = space.is_object() ? space.find_set("name") : &space;
    if (name == nullptr || !name->is_string())
        return make_error(ErrorCode::kInvalidArgument,
                          "namespace is {}, expected a name, or an object with a name",
                          kind_name(space.kind()));
    return name->string();
}

bool has_separator(std::string_view text) {
    return text.find(kSeparator) != std::string_view::npos;
}

}  // namespace

Result<std::string> qualified_tool_name(const std::string& name, const JsonText* space) {
    std::optional<std::string> space_name;
    if (space != nullptr) space_name = TRY(name_of_space(*space));
    std::string bare = name;
    if (const size_t at = name.find(kSeparator); at != std::string::npos) {
        const std::string prefix = name.substr(0, at);
        if (space_name.value_or(prefix) != prefix)
            return make_error(ErrorCode::kInvalidArgument,
                              "the tool's name has another namespace than `namespace` says");
        space_name = prefix;
        bare = name.substr(at + kSeparator.size());
    }
    if (!space_name) return bare;
    if (has_separator(bare) || has_separator(*space_name))
        return make_error(ErrorCode::kInvalidArgument, "the tool's name holds more than one ::");
    return fmt::format("{}{}{}", *space_name, kSeparator, bare);
}

Result<JsonText> qualified_tool(const JsonText& function, const JsonText* space) {
    if (space == nullptr) space = function.find_set("namespace");
    const JsonText* name = function.find_set("name");
    if (name == nullptr || !name->is_string())
        return make_error(ErrorCode::kInvalidArgument, "function: name is missing");
    JsonText tool = function;
    tool.set("name", JsonText::of_string(TRY(qualified_tool_name(name->string(), space))));
    tool.erase("namespace");
    const JsonText* about = space != nullptr ? space->find_set("description") : nullptr;
    if (about == nullptr || !about->truthy()) return tool;
    const JsonText* own = function.find_set("description");
    if (!about->is_string() || (own != nullptr && !own->is_string()))
        return make_error(ErrorCode::kInvalidArgument, "description is no string");
    tool.set("description",
             JsonText::of_string(about->string() + "\n" + (own != nullptr ? own->string() : "")));
    return tool;
}

}  // namespace baleen
