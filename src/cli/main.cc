// baleen: one program, one subcommand per file of this folder.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "cli/command.h"

namespace baleen::cli {
namespace {

int exit_code(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalidArgument:
        case ErrorCode::kNotFound:
        case ErrorCode::kCorrupt:
        case ErrorCode::kUnsupported: return kExitBadInput;
        case ErrorCode::kCancelled: return kExitInterrupted;
        case ErrorCode::kExhausted:
        case ErrorCode::kIo: return kExitFailed;
    }
    return kExitFailed;
}

// fmt::print throws when stdout takes no more (closed pipe, full disk); what is still in the buffer
// is written here, while a failure can be told.
Result<int> run_command(const Chosen& chosen) {
    try {
        const int status = TRY(chosen.run());
        if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
    } catch (const std::system_error& e) {
        errno = e.code().value();
    }
    return make_error(ErrorCode::kIo, "stdout: cannot write: {}", std::strerror(errno));
}

int run_main(int argc, char** argv) {
    CLI::App app{"DeepSeek-V4 for agents: runs official FP4/FP8 checkpoints."};
    app.name("baleen");
    app.set_version_flag("--version", BALEEN_VERSION);
    app.require_subcommand(1);
    app.footer("`baleen COMMAND --help` shows the options and examples of one command.");
    Chosen chosen;
    add_tokenize(app, chosen);
    add_detokenize(app, chosen);
    add_render(app, chosen);
    add_parse(app, chosen);
    add_inspect(app, chosen);
    add_synth(app, chosen);
    add_cost(app, chosen);
    add_logits(app, chosen);
    add_run(app, chosen);
    add_bench(app, chosen);
    add_chat(app, chosen);
    add_serve(app, chosen);
    add_eval(app, chosen);
    add_sandbox(app, chosen);
    add_completion(app, chosen);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& e) {  // --help, --version
        chosen.run = [&app, e]() -> Result<int> { return app.exit(e); };
    } catch (const CLI::ParseError& e) {
        const auto is_named = [&](const CLI::App* command) {
            return command->get_name() == argv[1];
        };
        if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(is_named).empty()) {
            fmt::print(stderr, "baleen: unknown command '{}' (see `baleen --help`)\n", argv[1]);
            return kExitBadInput;
        }
        fmt::print(stderr, "baleen: {} (see `baleen --help`)\n", e.what());
        return kExitBadInput;
    }
    const Result<int> status = run_command(chosen);
    if (status) return *status;
    fmt::print(stderr, "baleen: {}\n", status.error().message);
    return exit_code(status.error().code);
}

}  // namespace
}  // namespace baleen::cli

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a write error, not a silent death
    return baleen::cli::run_main(argc, argv);
}
