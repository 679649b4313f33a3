#include "cli/chat_options.h"

#include "cli/line_editor.h"
#include "cli/sampling_options.h"

namespace baleen::cli {
namespace {

// How often an answer that keeps silent looks for Ctrl-C.
constexpr auto kSilence = std::chrono::milliseconds(50);

}  // namespace

void ChatArgs::add_to(CLI::App& command) {
    model.add_to(command);
    command.add_option("--tokenizer", tokenizer,
                       "tokenizer.json, or a folder that holds one (default: the model folder)");
    command
        .add_option("--dialect", dialect,
                    "Prompt dialect of the weights: v4 for the April 2026 previews, v4-0731 for "
                    "Flash-0731 and Pro-0813")
        ->check(CLI::IsMember({"v4", "v4-0731", "v41"}))
        ->capture_default_str();
    command.add_option("--think", think, "How long to think before an answer")
        ->check(CLI::IsMember({"high", "max", "off"}))
        ->capture_default_str();
    command.add_flag("--reasoning", reasoning, "Show the reasoning, not only how long it is");
    command.add_option("--system", system, "The system prompt");
    command.add_option("--tools", tools,
                       "FILE with a JSON list of tools as in the OpenAI API; you are asked for the "
                       "result of each call");
    add_sampling_options(command, sampling, seed);
    command.add_option("--max-tokens", max_tokens, "Most tokens of one answer")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
        ->capture_default_str();
    command
        .add_option("--context", context,
                    "Most tokens of conversation and answer (default: the model's)")
        ->check(CLI::Range(int64_t{256}, int64_t{1} << 30));
    command.add_flag("--mtp", mtp, "Draft tokens with the checkpoint's MTP block");
    history = default_history_path();
    command
        .add_option("--history", history,
                    "FILE that keeps your lines for the next time; '' keeps none")
        ->capture_default_str();
    command.add_option("--script", script,
                       "For tests: the model runs, but its answers are those written in FILE");
    command.footer(
        "Type a message; /help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves. Where "
        "standard input is no terminal, each of its lines is a message or command.\n\n"
        "Examples:\n"
        "  baleen chat\n"
        "  baleen chat --think max --system 'Answer in one sentence.'\n"
        "  echo 'Why is the sea salty?' | baleen chat --model DIR --think off");
}

Result<serve::ServiceOptions> ChatArgs::service_options() const {
    serve::ServiceOptions options;
    options.dialect = TRY(parse_dialect(dialect));
    options.context_tokens_max = context;
    options.keep_alive = kSilence;
    options.request_time_max = std::chrono::hours(24 * 365);
    options.tokens_max_default = max_tokens;
    return options;
}

}  // namespace baleen::cli
