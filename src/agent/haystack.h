// Long prompts with facts in them, for the recall evaluation. Facts, question and answer are those
// that the pocket model is trained on (train/pocket/rows.py):
//
//   haystack  lines of a text, and between them lines "The code of KEY KEY is VALUE.\n"
//   question  a user turn "What is the code of KEY KEY?", in chat mode
//   answer    "The code of KEY KEY is VALUE." and the end of the message
//
// Keys are two words, all different; about half of them share the first word with another key, so
// that no single word finds a fact. Everything is built in tokens and drawn from the caller's
// generator: the same haystack for the same arguments.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "base/token.h"
#include "text/tokenizer.h"

namespace baleen::agent {

enum class FactValues : uint8_t { kWords, kDigits, kBoth };  // two words, four digits, 4 : 1

// Where the haystack stands in the conversation.
enum class HaystackPlace : uint8_t {
    kSystem,  // before the first user turn, as in training
    kUser,    // at the beginning of the user turn that asks
};

struct HaystackOptions {
    double facts_per_1k = 2.2;  // per 1,024 tokens of the prompt; at least one fact
    FactValues values = FactValues::kWords;
    HaystackPlace place = HaystackPlace::kSystem;
};

struct Fact {
    std::string key;                // "deep song"
    int64_t position = 0;           // of its line's first token in the prompt
    std::vector<TokenId> line;      // in the haystack
    std::vector<TokenId> question;  // what follows the haystack, up to where the model answers
    std::vector<TokenId> answer;    // the end marker included
    size_t value_idx = 0;           // in answer: the value's first token that is not blank
};

struct Haystack {
    std::vector<TokenId> tokens;  // the prompt up to the question
    std::vector<Fact> facts;      // by position
};

class HaystackMaker {
  public:
    // The text between the facts, at least one token of it; the tokenizer must outlive this.
    // kInvalidArgument: the text is empty or no UTF-8, or the tokenizer lacks a control token.
    static Result<HaystackMaker> create(const Tokenizer& tokenizer, std::string_view text,
                                        const HaystackOptions& options);

    // With any of its questions the prompt has exactly prompt_tokens. kInvalidArgument where not
    // even one fact fits.
    Result<Haystack> make(int64_t prompt_tokens, Rng& rng) const;

    // Tokens that the longest answer may take.
    int64_t answer_tokens_max() const { return answer_tokens_max_; }

  private:
    explicit HaystackMaker(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
    Result<void> find_words();
    void cut_text(std::vector<TokenId> tokens);
    std::vector<Fact> draw_facts(size_t count, Rng& rng) const;
    Fact make_fact(const std::string& first, const std::string& second, Rng& rng) const;
    std::string draw_value(Rng& rng) const;
    std::vector<TokenId> filler(size_t count, Rng& rng) const;
    std::vector<TokenId> plain(std::string_view text) const;

    const Tokenizer* tokenizer_;
    HaystackOptions options_;
    std::vector<std::string> words_;            // each the same number of tokens after a blank
    std::vector<std::vector<TokenId>> chunks_;  // of the text, in its order, cut at line ends
    std::vector<TokenId> opening_;              // what stands before the haystack
    size_t question_tokens_ = 0;
    int64_t answer_tokens_max_ = 0;
};

}  // namespace baleen::agent
