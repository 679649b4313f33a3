// libFuzzer entry for the parsers of model text. Byte 0: options; byte 1: seed of the piece sizes;
// the rest is the text, where bytes 0x01 to 0x0F stand for markers, so that mutations reach far.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/rng.h"
#include "text/completion_parser_fixture.h"

namespace baleen {
namespace {

std::string expanded(std::string_view bytes) {
    static const std::array<std::string, 16> kPieces = {"\0",
                                                        "</think>",
                                                        "<\uFF5CDSML\uFF5C",
                                                        "</\uFF5CDSML\uFF5C",
                                                        "tool_calls>\n",
                                                        "invoke name=\"",
                                                        "parameter name=\"",
                                                        "\" string=\"true\">",
                                                        "\" string=\"false\">",
                                                        "</\uFF5CDSML\uFF5Cparameter>\n",
                                                        "\n",
                                                        "</\uFF5CDSML\uFF5Cinvoke>\n",
                                                        "</\uFF5CDSML\uFF5Ctool_calls>",
                                                        "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
                                                        "\uFF5C",
                                                        "\"\xE6\xBC"};
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<uint8_t>(c);
        if (byte > 0 && byte < kPieces.size())
            text += kPieces[byte];
        else
            text += c;
    }
    return text;
}

// What the strict parser takes, the serving parser reads alike, but for values that are no JSON,
// white space around them, and newlines that it drops.
void compare_with_strict(const std::string& text, ThinkingMode mode) {
    const auto strict = parse_strict(text, mode);
    if (!strict) {
        CHECK_EQ(strict.error().message.find('\n'), std::string::npos);
        return;
    }
    const auto has_newline_ends = [](const std::string& part) {
        return part.starts_with('\n') || part.ends_with('\n');
    };
    std::string completion = text;
    if (completion.ends_with(kEos)) completion.resize(completion.size() - kEos.size());
    const ServingRun run = run_whole(completion, {.in_reasoning = mode == ThinkingMode::kThinking});
    // A name with a quote ends earlier there; so may a call whose tag has more after its name.
    bool is_plain = !has_newline_ends(strict->reasoning) && !has_newline_ends(strict->content);
    for (const ParsedCall& call : strict->tool_calls) {
        const auto arguments = parse_json(call.arguments);
        is_plain &= arguments && call.name.find('"') == std::string::npos;
        is_plain &= call.arguments.find("\\\"") == std::string::npos;
    }
    // Two bars where one belongs are text there only to the strict parser.
    is_plain &= text.find("<\uFF5C\uFF5C") == std::string::npos;
    if (!is_plain || run.is_malformed) return;
    CHECK_EQ(run.message.reasoning, strict->reasoning);
    CHECK_EQ(run.message.content, strict->content);
    CHECK_EQ(run.message.tool_calls.size(), strict->tool_calls.size());
    for (size_t i = 0; i < strict->tool_calls.size(); ++i) {
        CHECK(run.message.tool_calls[i].complete);
        CHECK_EQ(run.message.tool_calls[i].name, strict->tool_calls[i].name);
        const Json ours = parse_json(run.message.tool_calls[i].arguments).value();
        CHECK(ours == parse_json(strict->tool_calls[i].arguments).value());
    }
}

ServingParserOptions make_options(uint8_t bits) {
    ServingParserOptions options{.in_reasoning = (bits & 1) != 0,
                                 .json_mode = (bits & 2) != 0,
                                 .parse_tools = (bits & 4) == 0,
                                 .control_markers_only = (bits & 8) != 0};
    if ((bits & 32) != 0)
        options.is_wrapper = [](std::string_view tool, std::string_view parameter) {
            return !tool.empty() && parameter.size() < 3;
        };
    if ((bits & 16) != 0) options.stops = {"\n\n", "STOP", "TOST", "\uFF5CDS"};
    return options;
}

}  // namespace
}  // namespace baleen

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    if (size < 2) return 0;
    const baleen::ServingParserOptions options = baleen::make_options(bytes[0]);
    const std::string text = baleen::expanded({reinterpret_cast<const char*>(bytes) + 2, size - 2});
    baleen::Rng rng(bytes[1]);
    const baleen::ServingRun whole = baleen::run_whole(text, options);
    CHECK_EQ(whole.problem, "");
    const baleen::ServingRun cut =
        baleen::run_serving(text, options, [&] { return 1 + rng.next_below(1 + bytes[1] % 16); });
    CHECK_EQ(baleen::shown(cut), baleen::shown(whole));
    const auto mode =
        options.in_reasoning ? baleen::ThinkingMode::kThinking : baleen::ThinkingMode::kChat;
    baleen::compare_with_strict(text, mode);
    return 0;
}
