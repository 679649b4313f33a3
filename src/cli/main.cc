// baleen: one program, one subcommand per file of this folder.
#include <unistd.h>

#include <csignal>
#include <cstdio>

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

int run_main(int argc, char** argv) {
    CLI::App app{"DeepSeek-V4 for agents: runs official FP4/FP8 checkpoints."};
    app.name("baleen");
    app.set_version_flag("--version", BALEEN_VERSION);
    app.require_subcommand(1);
    app.footer("`baleen COMMAND --help` shows the options and examples of one command.");
    Chosen chosen;
    add_tokenize(app, chosen);
    add_detokenize(app, chosen);
    add_cost(app, chosen);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& e) {  // --help, --version
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        fmt::print(stderr, "baleen: {} (see `baleen --help`)\n", e.what());
        return kExitBadInput;
    }
    const Result<int> status = chosen.run();
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
