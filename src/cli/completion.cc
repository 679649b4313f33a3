// baleen completion: scripts for bash, zsh and fish, written from the parser's own tree of commands
// and options, so that they cannot fall behind it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace baleen::cli {
namespace {

// What may follow an option, as far as a shell can help with it.
enum class ValueKind { kNone, kChoice, kFile, kFolder, kFree };

struct Argument {
    std::vector<std::string> names;  // with dashes, long ones first; empty for a positional
    std::string description;
    ValueKind value = ValueKind::kNone;
    std::vector<std::string> choices;  // kChoice
};

struct Command {
    std::string name;
    std::string description;
    std::vector<Argument> arguments;
};

// CLI11 names a set of allowed values "{a,b}" and a mapping "{a->0,b->1}" inside the type's name.
std::vector<std::string> choices_in(std::string_view type) {
    std::vector<std::string> choices;
    const size_t open = type.find('{');
    const size_t close = type.find('}', open == std::string_view::npos ? 0 : open);
    if (open == std::string_view::npos || close == std::string_view::npos) return choices;
    std::string_view rest = type.substr(open + 1, close - open - 1);
    while (!rest.empty()) {
        const size_t comma = std::min(rest.find(','), rest.size());
        const std::string_view item = rest.substr(0, comma);
        choices.emplace_back(item.substr(0, item.find("->")));
        rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    return choices;
}

Argument describe(const CLI::Option& option) {
    Argument argument;
    for (const std::string& name : option.get_lnames()) argument.names.push_back("--" + name);
    for (const std::string& name : option.get_snames()) argument.names.push_back("-" + name);
    argument.description = option.get_description();
    if (option.get_items_expected_max() == 0) return argument;  // a flag
    const std::string type = option.get_type_name();
    const auto says = [&](const char* word) { return type.find(word) != std::string::npos; };
    argument.choices = choices_in(type);
    if (!argument.choices.empty())
        argument.value = ValueKind::kChoice;
    else if (says("DIR"))
        argument.value = ValueKind::kFolder;
    else if (says("FILE") || says("PATH") || says("TEXT"))  // text is most often a path
        argument.value = ValueKind::kFile;
    else
        argument.value = ValueKind::kFree;
    return argument;
}

std::vector<const CLI::App*> subcommands(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App*) { return true; });
}

// Adds the options of app, each name once.
void add_options(const CLI::App& app, std::vector<Argument>& arguments) {
    for (const CLI::Option* option : app.get_options()) {
        Argument argument = describe(*option);
        const auto is_same = [&](const Argument& a) { return a.names == argument.names; };
        if (argument.names.empty() || std::ranges::none_of(arguments, is_same))
            arguments.push_back(std::move(argument));
    }
}

// A command of several kinds (`eval recall`) takes the kind as its word and the options of all.
std::vector<Command> describe(const CLI::App& root) {
    std::vector<Command> commands;
    for (const CLI::App* sub : subcommands(root)) {
        Command command{sub->get_name(), sub->get_description(), {}};
        add_options(*sub, command.arguments);
        Argument kinds{.names = {}, .description = "", .value = ValueKind::kChoice, .choices = {}};
        for (const CLI::App* kind : subcommands(*sub)) {
            kinds.choices.push_back(kind->get_name());
            add_options(*kind, command.arguments);
        }
        if (!kinds.choices.empty()) command.arguments.push_back(std::move(kinds));
        commands.push_back(std::move(command));
    }
    return commands;
}

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
    return out;
}

// One word of a shell script, whatever it holds. `escaped` are the characters that the zsh
// completion system would read itself.
std::string shell_word(std::string_view text, std::string_view escaped = "") {
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'')
            out += "'\\''";
        else if (escaped.find(c) != std::string_view::npos)
            out += {'\\', c};
        else
            out += c == '\n' ? ' ' : c;
    }
    return out + "'";
}

// The action of `compgen` that lists what an argument may be.
std::string bash_action(const Argument& argument) {
    switch (argument.value) {
        case ValueKind::kChoice: return "-W " + shell_word(joined(argument.choices));
        case ValueKind::kFolder: return "-d";
        case ValueKind::kFile: return "-f";
        case ValueKind::kFree:
        case ValueKind::kNone: return "-W ''";
    }
    return "";
}

std::string bash_script(const std::vector<Command>& commands) {
    std::string names, values, rest;
    for (const Command& command : commands) {
        names += command.name + " ";
        std::string options, positional = "-W ''";
        for (const Argument& argument : command.arguments) {
            if (argument.names.empty()) positional = bash_action(argument);
            for (const std::string& name : argument.names) {
                options += name + " ";
                if (argument.value != ValueKind::kNone)
                    values +=
                        fmt::format("        {}) _baleen_offer {}; return ;;\n",
                                    shell_word(command.name + " " + name), bash_action(argument));
            }
        }
        rest += fmt::format(
            "        {}) if [[ $current == -* ]]; then _baleen_offer -W {}; else _baleen_offer {}; "
            "fi ;;\n",
            command.name, shell_word(options), positional);
    }
    return fmt::format(R"(# bash completion for baleen: source <(baleen completion bash)
_baleen_offer() {{ mapfile -t COMPREPLY < <(compgen "$@" -- "$current"); }}
_baleen() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    if [ "$COMP_CWORD" -eq 1 ]; then _baleen_offer -W {}; return; fi
    case "${{COMP_WORDS[1]}} $previous" in
{}    esac
    case "${{COMP_WORDS[1]}}" in
{}    esac
}}
complete -o filenames -F _baleen baleen
)",
                       shell_word(names + "--help --version"), values, rest);
}

// `:message:action` of zsh's _arguments, or nothing for a flag.
std::string zsh_value(const Argument& argument) {
    switch (argument.value) {
        case ValueKind::kNone: return "";
        case ValueKind::kChoice: return fmt::format(":value:({})", joined(argument.choices));
        case ValueKind::kFolder: return ":folder:_files -/";
        case ValueKind::kFile: return ":file:_files";
        case ValueKind::kFree: return ":value: ";
    }
    return "";
}

std::string zsh_script(const std::vector<Command>& commands) {
    std::string names, arms;
    for (const Command& command : commands) {
        names +=
            "        " + shell_word(fmt::format("{}:{}", command.name, command.description)) + "\n";
        arms += fmt::format("        {}) _arguments", command.name);
        for (const Argument& argument : command.arguments) {
            const std::string value = zsh_value(argument);
            if (argument.names.empty()) arms += " " + shell_word("*" + value);
            for (const std::string& name : argument.names) {
                const std::string text = shell_word(argument.description, "[]:\\");
                arms += fmt::format(" \\\n            {}{}{}", shell_word(name + "["), text,
                                    shell_word("]" + value));
            }
        }
        arms += " ;;\n";
    }
    return fmt::format(R"(#compdef baleen
# zsh completion for baleen: baleen completion zsh > a folder of $fpath, as _baleen
_baleen() {{
    local -a commands=(
{}    )
    if (( CURRENT == 2 )); then _describe command commands; return; fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
{}    esac
}}
# Called by the completion system when autoloaded from $fpath, registered when sourced.
if [ "$funcstack[1]" = _baleen ]; then _baleen "$@"; else compdef _baleen baleen; fi
)",
                       names, arms);
}

std::string fish_value(const Argument& argument) {
    switch (argument.value) {
        case ValueKind::kNone: return "";
        case ValueKind::kChoice: return " -x -a " + shell_word(joined(argument.choices));
        case ValueKind::kFolder: return " -x -a '(__fish_complete_directories)'";
        case ValueKind::kFile: return " -r -F";
        case ValueKind::kFree: return " -x";
    }
    return "";
}

std::string fish_script(const std::vector<Command>& commands) {
    std::string out =
        "# fish completion for baleen: baleen completion fish | source\ncomplete -c baleen -f\n";
    for (const Command& command : commands) {
        out += fmt::format("complete -c baleen -n __fish_use_subcommand -a {} -d {}\n",
                           command.name, shell_word(command.description));
        for (const Argument& argument : command.arguments) {
            std::string names;
            for (const std::string& name : argument.names)
                names += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
            out += fmt::format("complete -c baleen -n '__fish_seen_subcommand_from {}'{}{} -d {}\n",
                               command.name, names, fish_value(argument),
                               shell_word(argument.description));
        }
    }
    return out;
}

}  // namespace

void add_completion(CLI::App& app, Chosen& chosen) {
    CLI::App* command = app.add_subcommand("completion", "Print a shell's completion script");
    const auto shell = std::make_shared<std::string>();  // lives as long as its option
    command->add_option("shell", *shell, "The shell to write for")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    command->footer(
        "Examples:\n"
        "  source <(baleen completion bash)\n"
        "  baleen completion zsh > ~/.zfunc/_baleen\n"
        "  baleen completion fish > ~/.config/fish/completions/baleen.fish");
    command->callback([&app, &chosen, shell] {
        chosen.run = [&app, shell]() -> Result<int> {
            const std::vector<Command> commands = describe(app);
            const std::string script = *shell == "bash"  ? bash_script(commands)
                                       : *shell == "zsh" ? zsh_script(commands)
                                                         : fish_script(commands);
            fmt::print("{}", script);
            return kExitOk;
        };
    });
}

}  // namespace baleen::cli
