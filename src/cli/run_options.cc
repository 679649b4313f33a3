#include "cli/run_options.h"

#include "base/file.h"
#include "cli/sampling_options.h"
#include "cli/stdio.h"

namespace baleen::cli {
namespace {

constexpr size_t kPromptBytesMax = size_t{64} << 20;

}  // namespace

void RunArgs::add_to(CLI::App& command) {
    model.add_to(command);
    command.add_option("--tokenizer", tokenizer,
                       "tokenizer.json, or a folder that holds one (default: the model folder)");
    CLI::Option* prompt_option =
        command.add_option("--prompt", prompt, "The prompt (default: standard input to its end)");
    command.add_option("--file", file, "Read the prompt from this FILE")->excludes(prompt_option);
    command.add_option("--max-tokens", max_tokens, "Most tokens to generate")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 32))
        ->capture_default_str();
    add_sampling_options(command, sampling, seed);
    command.add_option("--stop", stops, "End the text before this string; may be repeated")
        ->allow_extra_args(false)
        ->check([](const std::string& s) { return s.empty() ? "must not be empty" : ""; });
    command.add_flag("--no-bos", no_bos, "Put no start-of-text token before the prompt");
    command.add_flag("--ignore-eos", ignore_eos, "Go on after the end-of-text token");
    command.add_flag("--json", json,
                     "Print one JSON object at the end instead of the text as it comes");
    command.footer(
        "The prompt is raw text after a start-of-text token: no chat formatting is added yet.\n"
        "Special tokens written in it, such as <think>, are recognised.\n\n"
        "Examples:\n"
        "  baleen run --prompt 'Whales are' --max-tokens 64\n"
        "  baleen run --model DIR --file story.txt --temperature 0.6 --top-p 0.95 --seed 7\n"
        "  echo 'def f(x):' | baleen run --model DIR --greedy --stop 'def ' --json");
}

Result<std::string> RunArgs::read_prompt() const {
    if (prompt) return *prompt;
    return file.empty() ? read_stdin() : read_file(file, kPromptBytesMax);
}

}  // namespace baleen::cli
