// baleen render: a conversation as JSON to the prompt that the model reads.
#include <memory>
#include <optional>

#include "base/json.h"
#include "cli/command.h"
#include "cli/lines.h"
#include "cli/stdio.h"
#include "text/chat_json.h"
#include "text/tokenizer.h"

namespace baleen::cli {
namespace {

struct RenderFlags {
    std::string dialect;
    std::string tokenizer;
    bool tokens = false;
    bool reference = false;
    bool lines = false;
};

// One request to its prompt: text, or ids where a tokenizer is given.
class PromptCommand {
  public:
    static Result<PromptCommand> open(const RenderFlags& flags) {
        PromptCommand command;
        if (!flags.dialect.empty()) command.dialect_ = TRY(parse_dialect(flags.dialect));
        if (flags.tokens) command.tokenizer_ = TRY(Tokenizer::load(flags.tokenizer));
        if (flags.reference) command.outside_ = OutsideText::kReference;
        return command;
    }

    // The whole output for one object, without a newline added to a text.
    Result<std::string> answer(std::string_view request) const {
        const Prompt prompt = TRY(prompt_of(request));
        if (!tokenizer_) return prompt.text();
        return number_list(TRY(tokenize(prompt, *tokenizer_, outside_)).tokens) + "\n";
    }

    // One line of --lines; an error is data here, so that the other lines go on.
    std::string answer_line(std::string_view request) const {
        const auto json = [&]() -> Result<Json> {
            const Prompt prompt = TRY(prompt_of(request));
            if (!tokenizer_) return Json{{"text", prompt.text()}};
            const PromptTokens ids = TRY(tokenize(prompt, *tokenizer_, outside_));
            return Json{{"tokens", ids.tokens}};
        }();
        return dump_json(json ? *json : Json{{"error", json.error().message}});
    }

  private:
    Result<Prompt> prompt_of(std::string_view request) const {
        const JsonText json = TRY(JsonText::parse(request));
        return render(TRY(conversation_from_json(json, dialect_)));
    }

    std::optional<Dialect> dialect_;
    std::optional<Tokenizer> tokenizer_;
    OutsideText outside_ = OutsideText::kPlain;
};

Result<int> run_render(const RenderFlags& flags) {
    const PromptCommand command = TRY(PromptCommand::open(flags));
    const std::string input = TRY(read_stdin());
    if (flags.lines) {
        TRY(write_stdout(
            map_lines(input, [&](std::string_view line) { return command.answer_line(line); })));
        return kExitOk;
    }
    const auto answer = command.answer(input);
    if (!answer) return Error(answer.error()).in("stdin");
    TRY(write_stdout(*answer));
    return kExitOk;
}

}  // namespace

void add_render(CLI::App& app, Chosen& chosen) {
    CLI::App* command = app.add_subcommand(
        "render", "A conversation (JSON on stdin) to the prompt that the model reads.");
    const auto flags = std::make_shared<RenderFlags>();
    command
        ->add_option("--dialect", flags->dialect,
                     "prompt format of the checkpoint; default: the object's `dialect`, else v4")
        ->check(CLI::IsMember({"v4", "v4-0731", "v41"}));
    CLI::Option* tokens = command->add_flag("--tokens", flags->tokens, "token ids instead of text");
    CLI::Option* tokenizer = command->add_option("--tokenizer", flags->tokenizer,
                                                 "tokenizer.json, or a folder that holds one");
    tokens->needs(tokenizer);
    tokenizer->needs(tokens);
    command
        ->add_flag("--reference", flags->reference,
                   "as the vendor's encoder: markers in texts of the conversation become control "
                   "tokens (by default they stay harmless text)")
        ->needs(tokens);
    command->add_flag("--lines", flags->lines,
                      "one object per input line, one {\"text\": ...}, {\"tokens\": [...]} or "
                      "{\"error\": ...} per output line");
    command->footer(
        "Examples:\n"
        "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' | baleen render\n"
        "  baleen render --dialect v4-0731 < request.json\n"
        "  baleen render --tokens --tokenizer DIR < request.json\n"
        "Fields of the object: messages, tools, thinking_mode (thinking, chat), reasoning_effort,\n"
        "drop_thinking, context (messages encoded before), add_bos, dialect. The text comes\n"
        "without a newline at its end.");
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_render(*flags); }; });
}

}  // namespace baleen::cli
