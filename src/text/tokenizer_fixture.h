// A small tokenizer.json for tests and the fuzz target: the 256 byte tokens (id = byte), a few
// merges, and added tokens of both rounds.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "text/pretokenizer.h"
#include "text/utf8.h"

namespace baleen {

// What step 3 of the encoding writes for a byte (spec/tokenizer.md).
inline std::string byte_symbol(int byte) {
    const auto printable = [](int b) {
        return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
    };
    char32_t code = static_cast<char32_t>(byte);
    if (!printable(byte)) {
        code = 0x100;
        for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
    }
    std::string symbol;
    append_utf8(code, symbol);
    return symbol;
}

inline Json small_pre_tokenizer() {
    Json steps = Json::array();
    for (const std::string_view pattern : kPreTokenizerPatterns)
        steps.push_back({{"type", "Split"},
                         {"pattern", {{"Regex", pattern}}},
                         {"behavior", "Isolated"},
                         {"invert", false}});
    steps.push_back({{"type", "ByteLevel"},
                     {"add_prefix_space", false},
                     {"trim_offsets", true},
                     {"use_regex", false}});
    return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

inline Json small_added_token(int id, const std::string& text, bool normalized) {
    return {{"id", id},        {"content", text}, {"single_word", false},
            {"lstrip", false}, {"rstrip", false}, {"normalized", normalized},
            {"special", false}};
}

inline Json small_tokenizer_tree() {
    // Each merge's token gets the next id from 256. "bcd" is an entry that the merges never reach
    // in the text "bcd": "c d" comes before "b c".
    const std::vector<std::pair<std::string, std::string>> merges = {
        {"a", "a"},  {"aa", "aa"},         {"c", "d"},          {"b", "c"},
        {"bc", "d"}, {"\u0120", "\u0120"}, {"\u00C3", "\u00A9"}};
    Json vocab = Json::object();
    for (int byte = 0; byte < 256; ++byte) vocab[byte_symbol(byte)] = byte;
    Json merge_list = Json::array();
    int id = 256;
    for (const auto& [left, right] : merges) {
        vocab[left + right] = id++;
        merge_list.push_back(left + " " + right);
    }
    vocab["<\uFF5Cbos\uFF5C>"] = id;  // like the reserved markers of V4: in both lists
    Json added = Json::array({small_added_token(id, "<\uFF5Cbos\uFF5C>", false)});
    added.push_back(small_added_token(id + 1, "<s>", false));
    added.push_back(small_added_token(id + 2, "<s><s>", false));
    added.push_back(small_added_token(id + 3, "x<s", true));
    return {{"version", "1.0"},
            {"truncation", nullptr},
            {"padding", nullptr},
            {"added_tokens", added},
            {"normalizer", nullptr},
            {"pre_tokenizer", small_pre_tokenizer()},
            {"post_processor", nullptr},
            {"decoder", {{"type", "ByteLevel"}}},
            {"model",
             {{"type", "BPE"},
              {"dropout", nullptr},
              {"unk_token", nullptr},
              {"vocab", vocab},
              {"merges", merge_list}}}};
}

}  // namespace baleen
