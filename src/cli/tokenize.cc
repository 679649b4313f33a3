// baleen tokenize, baleen detokenize: text to token ids and back.
#include <memory>

#include "base/json.h"
#include "cli/command.h"
#include "cli/lines.h"
#include "cli/stdio.h"
#include "text/tokenizer.h"

namespace baleen::cli {
namespace {

struct TokenizeFlags {
    std::string tokenizer;
    bool plain = false;
    bool count = false;
    bool lines = false;
};

Result<std::vector<TokenId>> encode(const Tokenizer& tokenizer, const TokenizeFlags& flags,
                                    std::string_view text) {
    return flags.plain ? tokenizer.encode_plain(text) : tokenizer.encode(text);
}

std::string shown(const std::vector<TokenId>& ids, const TokenizeFlags& flags) {
    if (flags.count) return fmt::format("{}", ids.size());
    return number_list(ids);
}

// One JSON string to one line of output; an error is data here, so that the other lines go on.
std::string tokenize_line(const Tokenizer& tokenizer, const TokenizeFlags& flags,
                          std::string_view line) {
    const auto ids = [&]() -> Result<std::vector<TokenId>> {
        const Json text = TRY(parse_json(line));
        if (!text.is_string())
            return make_error(ErrorCode::kInvalidArgument, "expected a JSON string");
        return encode(tokenizer, flags, text.get_ref<const std::string&>());
    }();
    return ids ? shown(*ids, flags) : dump_json(Json{{"error", ids.error().message}});
}

Result<int> tokenize(const TokenizeFlags& flags) {
    const Tokenizer tokenizer = TRY(Tokenizer::load(flags.tokenizer));
    const std::string input = TRY(read_stdin());
    if (flags.lines) {
        TRY(write_stdout(map_lines(
            input, [&](std::string_view line) { return tokenize_line(tokenizer, flags, line); })));
        return kExitOk;
    }
    const auto ids = encode(tokenizer, flags, input);
    if (!ids) return Error(ids.error()).in("stdin");
    TRY(write_stdout(shown(*ids, flags) + "\n"));
    return kExitOk;
}

// The text of a JSON list of ids.
Result<std::string> decode_list(const Tokenizer& tokenizer, std::string_view json) {
    const Json list = TRY(parse_json(json));
    if (!list.is_array())
        return make_error(ErrorCode::kInvalidArgument, "expected a JSON list of token ids");
    std::vector<TokenId> ids;
    ids.reserve(list.size());
    for (size_t i = 0; i < list.size(); ++i) {
        if (!list[i].is_number_unsigned() || list[i].get<uint64_t>() >= tokenizer.vocab_size())
            return make_error(ErrorCode::kInvalidArgument,
                              "entry {} is {}, expected a token id 0 to {}", i,
                              list[i].is_structured() ? "a list or object" : dump_json(list[i]),
                              tokenizer.vocab_size() - 1);
        ids.push_back(list[i].get<TokenId>());
    }
    return tokenizer.decode(ids);
}

struct DetokenizeFlags {
    std::string tokenizer;
    bool lines = false;
};

Result<int> detokenize(const DetokenizeFlags& flags) {
    const Tokenizer tokenizer = TRY(Tokenizer::load(flags.tokenizer));
    const std::string input = TRY(read_stdin());
    if (flags.lines) {
        TRY(write_stdout(map_lines(input, [&](std::string_view line) {
            const auto text = decode_list(tokenizer, line);
            return dump_json(text ? Json(*text) : Json{{"error", text.error().message}});
        })));
        return kExitOk;
    }
    const auto text = decode_list(tokenizer, input);
    if (!text) return Error(text.error()).in("stdin");
    TRY(write_stdout(*text));
    return kExitOk;
}

constexpr const char* kTokenizerHelp = "tokenizer.json, or a folder that holds one";

}  // namespace

void add_tokenize(CLI::App& app, Chosen& chosen) {
    CLI::App* command = app.add_subcommand(
        "tokenize", "Text on stdin (UTF-8) to a JSON list of token ids on one line.");
    const auto flags = std::make_shared<TokenizeFlags>();
    command->add_option("--tokenizer", flags->tokenizer, kTokenizerHelp)->required();
    command->add_flag("--plain", flags->plain,
                      "recognise no added token: <think> and the like are ordinary text");
    command->add_flag("--count", flags->count, "print only how many tokens there are");
    command->add_flag(
        "--lines", flags->lines,
        "one JSON string per input line, one list (or {\"error\": ...}) per output line");
    command->footer(
        "Examples:\n"
        "  printf 'Hello, world!' | baleen tokenize --tokenizer DIR        [19923, 14, 2058, 3]\n"
        "  printf '<think>' | baleen tokenize --tokenizer DIR              [128821]\n"
        "  printf '<think>' | baleen tokenize --tokenizer DIR --plain      [30, 37947, 32]\n"
        "  baleen tokenize --tokenizer DIR --count < README.md\n"
        "No id for the start of text is put in front. Bytes that are not UTF-8 are an error.");
    command->callback([flags, &chosen] { chosen.run = [flags] { return tokenize(*flags); }; });
}

void add_detokenize(CLI::App& app, Chosen& chosen) {
    CLI::App* command = app.add_subcommand(
        "detokenize", "A JSON list of token ids on stdin to their text, no newline added.");
    const auto flags = std::make_shared<DetokenizeFlags>();
    command->add_option("--tokenizer", flags->tokenizer, kTokenizerHelp)->required();
    command->add_flag(
        "--lines", flags->lines,
        "one list per input line, one JSON string (or {\"error\": ...}) per output line");
    command->footer(
        "Example:\n"
        "  echo '[19923, 14, 2058, 3]' | baleen detokenize --tokenizer DIR     Hello, world!\n"
        "Bytes that form no character become U+FFFD.");
    command->callback([flags, &chosen] { chosen.run = [flags] { return detokenize(*flags); }; });
}

}  // namespace baleen::cli
