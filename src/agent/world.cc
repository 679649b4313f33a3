#include "agent/world.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "agent/calculator.h"
#include "agent/world_path.h"
#include "base/file.h"
#include "text/utf8.h"

namespace baleen::agent {
namespace {

namespace fs = std::filesystem;

struct Argument {
    std::string_view name;
    bool is_text;  // else a whole number
    bool is_required;
};

struct Tool {
    std::string_view name;
    std::vector<Argument> arguments;  // in the order in which they are checked
};

const std::vector<Tool>& tools() {
    static const std::vector<Tool> kTools = {
        {"read", {{"path", true, true}, {"limit", false, false}}},
        {"list", {{"path", true, true}}},
        {"grep", {{"pattern", true, true}, {"path", true, true}}},
        {"write", {{"path", true, true}, {"content", true, true}}},
        {"shell", {{"command", true, true}}},
        {"calculator", {{"expression", true, true}}}};
    return kTools;
}

// What is wrong with the arguments, or nothing.
std::string argument_error(const Tool& tool, const Json& arguments) {
    for (const Argument& argument : tool.arguments) {
        const auto found = arguments.find(argument.name);
        if (found == arguments.end()) {
            if (argument.is_required)
                return fmt::format("error: missing argument: {}", argument.name);
        } else if (argument.is_text ? !found->is_string() : !found->is_number_integer()) {
            return fmt::format("error: argument {} must be {}", argument.name,
                               argument.is_text ? "a string" : "an integer");
        }
    }
    return "";
}

std::string text_of(const Json& arguments, const char* name) {
    return arguments[name].get<std::string>();
}

std::string_view without_last_newline(std::string_view text) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    return text;
}

// Calls body(line) for each line, until it returns false.
template <typename Body>
void for_lines(std::string_view text, const Body& body) {
    if (text.empty()) return;
    text = without_last_newline(text);
    while (true) {
        const size_t end = text.find('\n');
        if (!body(text.substr(0, end)) || end == std::string_view::npos) return;
        text.remove_prefix(end + 1);
    }
}

std::string joined(const std::vector<std::string>& lines) {
    std::string out;
    for (const std::string& line : lines) out += (out.empty() ? "" : "\n") + line;
    return out;
}

std::string valid_utf8(std::string text) {
    if (first_invalid_utf8(text) == std::string_view::npos) return text;
    std::string out;
    drain_utf8(text, out);
    if (!text.empty()) out += kReplacementCharacter;
    return out;
}

Error system_error(const std::string& path, const std::error_code& error) {
    return make_error(ErrorCode::kIo, "{}: {}", path, error.message());
}

}  // namespace

Result<World> World::create(const FileTexts& files, ShellMode mode) {
    std::error_code error;
    const fs::path temporary = fs::temp_directory_path(error);
    if (error) return system_error("the temporary folder", error);
    std::string folder = (temporary / "baleen_world_XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr)
        return make_error(ErrorCode::kIo, "{}: cannot create: {}", folder, std::strerror(errno));
    World world(std::move(folder), mode);
    for (const auto& [path, text] : files) {
        if (normal_path(path) != path || path == ".")
            return make_error(ErrorCode::kInvalidArgument, "files: bad path '{}'", path);
        TRY(world.write_text(path, text));
    }
    return world;
}

World::World(World&& other) noexcept
    : folder_(std::exchange(other.folder_, std::string())), mode_(other.mode_) {}

World::~World() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

fs::path World::place(const std::string& path) const {
    return path == "." ? fs::path(folder_) : fs::path(folder_) / path;
}

// Nothing is reached through a link: a shell may have made one that leads out of the folder.
World::Kind World::kind_of(const std::string& path) const {
    if (path == ".") return Kind::kFolder;
    fs::path at = folder_;
    Kind kind = Kind::kFolder;
    for (const fs::path& part : fs::path(path)) {
        if (kind != Kind::kFolder) return Kind::kMissing;
        at /= part;
        std::error_code ignored;
        const fs::file_status status = fs::symlink_status(at, ignored);
        kind = fs::is_regular_file(status) ? Kind::kFile
               : fs::is_directory(status)  ? Kind::kFolder
               : fs::exists(status)        ? Kind::kOther
                                           : Kind::kMissing;
    }
    return kind;
}

Result<std::string> World::read_text(const std::string& path) const {
    return read_file(place(path).string(), kWorldFileBytesMax);
}

Result<void> World::write_text(const std::string& path, std::string_view text) {
    std::error_code error;
    fs::create_directories(place(path).parent_path(), error);
    if (error) return system_error(path, error);
    FileWriter writer = TRY(FileWriter::create(place(path).string()));
    return writer.write(text);
}

Result<std::string> World::run_tool(std::string_view name, const Json& given) {
    const auto tool = std::ranges::find(tools(), name, &Tool::name);
    if (tool == tools().end()) return fmt::format("error: unknown tool: {}", name);
    const Json arguments = given.is_object() ? given : Json::object();
    if (std::string error = argument_error(*tool, arguments); !error.empty()) return error;
    Result<std::string> result = std::string();
    if (name == "shell") {
        result = run_shell_command(text_of(arguments, "command"), folder_, mode_);
    } else if (name == "calculator") {
        result = calculate(text_of(arguments, "expression"));
    } else {
        const auto path = normal_path(text_of(arguments, "path"));
        if (!path) return fmt::format("error: bad path: {}", text_of(arguments, "path"));
        result = name == "read"   ? read(*path, arguments)
                 : name == "list" ? list(*path)
                 : name == "grep" ? grep(*path, arguments)
                                  : write(*path, arguments);
    }
    if (!result) return result;
    std::string text = valid_utf8(std::move(*result));
    if (text.size() > kToolBytesMax)
        return fmt::format("error: result longer than {} bytes", kToolBytesMax);
    return text;
}

Result<std::string> World::read(const std::string& path, const Json& arguments) const {
    const Kind kind = kind_of(path);
    if (kind == Kind::kFolder) return fmt::format("error: not a file: {}", path);
    if (kind != Kind::kFile) return fmt::format("error: no such file: {}", path);
    const std::string text = TRY(read_text(path));
    const auto limit = arguments.find("limit");
    if (limit == arguments.end()) {
        const std::string_view whole = without_last_newline(text);
        return whole.empty() ? "(empty)" : std::string(whole);
    }
    const bool is_positive = limit->is_number_unsigned() || limit->get<int64_t>() >= 0;
    const uint64_t lines_max = is_positive ? limit->get<uint64_t>() : 0;
    if (lines_max == 0) return std::string("error: limit must be at least 1");
    std::vector<std::string> lines;
    for_lines(text, [&](std::string_view line) {
        lines.emplace_back(line);
        return lines.size() < lines_max;
    });
    // Blank lines count, unlike in joined(): there may be some at the beginning.
    std::string out;
    for (size_t i = 0; i < lines.size(); ++i) out += (i == 0 ? "" : "\n") + lines[i];
    return out.empty() ? "(empty)" : out;
}

Result<std::string> World::list(const std::string& path) const {
    const Kind kind = kind_of(path);
    if (kind == Kind::kFile) return fmt::format("error: not a folder: {}", path);
    if (kind != Kind::kFolder) return fmt::format("error: no such folder: {}", path);
    std::error_code error;
    std::vector<std::pair<std::string, bool>> entries;  // name, whether a folder
    for (fs::directory_iterator it(place(path), error), end; !error && it != end;
         it.increment(error))
        entries.emplace_back(it->path().filename().string(),
                             fs::is_directory(it->symlink_status()));
    if (error) return system_error(path, error);
    std::ranges::sort(entries);
    std::vector<std::string> lines;
    for (const auto& [entry, is_folder] : entries) lines.push_back(entry + (is_folder ? "/" : ""));
    return lines.empty() ? "(empty)" : joined(lines);
}

// Paths of all regular files in a folder and its folders, in byte order.
std::vector<std::string> World::files_below(const std::string& path) const {
    std::vector<std::string> found;
    std::error_code error;
    for (fs::recursive_directory_iterator it(place(path), error), end; !error && it != end;
         it.increment(error))
        if (fs::is_regular_file(it->symlink_status(error)))
            found.push_back(it->path().lexically_relative(folder_).string());
    std::ranges::sort(found);
    return found;
}

Result<std::string> World::grep(const std::string& path, const Json& arguments) const {
    const std::string pattern = text_of(arguments, "pattern");
    if (pattern.empty()) return std::string("error: empty pattern");
    const Kind kind = kind_of(path);
    if (kind != Kind::kFile && kind != Kind::kFolder)
        return fmt::format("error: no such file: {}", path);
    std::vector<std::string> found;
    for (const std::string& file : kind == Kind::kFile ? std::vector{path} : files_below(path)) {
        const std::string text = TRY(read_text(file));
        size_t number = 0;
        for_lines(text, [&](std::string_view line) {
            ++number;
            if (line.find(pattern) != std::string_view::npos)
                found.push_back(fmt::format("{}:{}:{}", file, number, line));
            return true;
        });
    }
    return found.empty() ? "no matches" : joined(found);
}

Result<std::string> World::write(const std::string& path, const Json& arguments) {
    for (size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
        const Kind above = kind_of(path.substr(0, at));
        if (above != Kind::kFolder && above != Kind::kMissing)
            return fmt::format("error: not a file: {}", path);
    }
    const Kind kind = kind_of(path);
    if (kind != Kind::kFile && kind != Kind::kMissing)
        return fmt::format("error: not a file: {}", path);
    std::string content = text_of(arguments, "content");
    if (!content.empty() && !content.ends_with('\n')) content += '\n';
    if (content.size() > kWorldFileBytesMax)
        return fmt::format("error: content longer than {} bytes", kWorldFileBytesMax);
    // A name that the file system refuses is the model's mistake.
    if (!write_text(path, content)) return fmt::format("error: cannot write: {}", path);
    return fmt::format("wrote {} bytes to {}", content.size(), path);
}

Result<FileTexts> World::files() const {
    FileTexts texts;
    for (const std::string& path : files_below(".")) texts[path] = TRY(read_text(path));
    return texts;
}

}  // namespace baleen::agent
