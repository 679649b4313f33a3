#include "agent/haystack.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "text/chat.h"
#include "text/utf8.h"

namespace baleen::agent {
namespace {

constexpr size_t kWordLettersMin = 3;
constexpr size_t kWordsMin = 100;  // fewer one-token words: made-up ones are used
constexpr size_t kMadeUpWords = 500;
constexpr size_t kChunkTokens = 1024;    // of the text, before the next line end
constexpr double kSharedKeyShare = 0.5;  // of the facts: the first word is that of another fact
constexpr double kDigitsShare = 0.2;     // with FactValues::kBoth, as in training

bool is_word(std::string_view text) {
    return text.size() >= kWordLettersMin &&
           std::ranges::all_of(text, [](char c) { return c >= 'a' && c <= 'z'; });
}

// Words of four letters that can be spoken, for tokenizers that know too few whole words.
std::vector<std::string> made_up_words() {
    constexpr std::string_view kConsonants = "bdfgklmnprstvz", kVowels = "aeiou";
    std::vector<std::string> words;
    const size_t all = kConsonants.size() * kVowels.size() * kConsonants.size() * kVowels.size();
    for (size_t i = 0; i < kMadeUpWords; ++i) {
        size_t n = i * (all / kMadeUpWords);
        std::string word;
        for (const std::string_view letters : {kConsonants, kVowels, kConsonants, kVowels}) {
            word += letters[n % letters.size()];
            n /= letters.size();
        }
        words.push_back(word);
    }
    return words;
}

const std::string& draw(const std::vector<std::string>& words, Rng& rng) {
    return words[rng.next_below(words.size())];
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
    to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

Result<HaystackMaker> HaystackMaker::create(const Tokenizer& tokenizer, std::string_view text,
                                            const HaystackOptions& options) {
    HaystackMaker maker(tokenizer);
    maker.options_ = options;
    for (const std::string_view marker : {kBos, kEos, kUserMarker, kAssistantMarker, kThinkClose})
        if (tokenizer.token_id(marker) < 0)
            return make_error(ErrorCode::kInvalidArgument,
                              "the tokenizer has no {}, which the questions need", marker);
    maker.opening_ = {tokenizer.token_id(kBos)};
    if (options.place == HaystackPlace::kUser)
        maker.opening_.push_back(tokenizer.token_id(kUserMarker));
    std::vector<TokenId> tokens = TRY(tokenizer.encode_plain(text));
    if (tokens.empty()) return make_error(ErrorCode::kInvalidArgument, "the text is empty");
    maker.cut_text(std::move(tokens));
    TRY(maker.find_words());
    return maker;
}

void HaystackMaker::cut_text(std::vector<TokenId> tokens) {
    std::vector<TokenId> chunk;
    for (const TokenId token : tokens) {
        chunk.push_back(token);
        if (chunk.size() >= kChunkTokens && tokenizer_->token_bytes(token).ends_with('\n'))
            chunks_.push_back(std::exchange(chunk, {}));
    }
    if (!chunk.empty()) chunks_.push_back(std::move(chunk));
}

// Words that are one token after a blank; else made-up ones of the most frequent length. Then all
// questions have the same length, which is measured here.
Result<void> HaystackMaker::find_words() {
    for (size_t id = 0; id < tokenizer_->vocab_size(); ++id) {
        const std::string_view bytes = tokenizer_->token_bytes(static_cast<TokenId>(id));
        if (!tokenizer_->is_added(static_cast<TokenId>(id)) && bytes.starts_with(' ') &&
            is_word(bytes.substr(1)))
            words_.emplace_back(bytes.substr(1));
    }
    const auto length = [&](const std::string& word) { return plain(" " + word).size(); };
    std::erase_if(words_, [&](const std::string& word) { return length(word) != 1; });
    if (words_.size() < kWordsMin) {
        words_ = made_up_words();
        std::map<size_t, size_t> lengths;
        for (const std::string& word : words_) ++lengths[length(word)];
        const size_t most_frequent = std::ranges::max_element(lengths, {}, [](const auto& entry) {
                                         return entry.second;
                                     })->first;
        std::erase_if(words_, [&](const std::string& w) { return length(w) != most_frequent; });
    }
    std::ranges::sort(words_);
    Rng rng(0);
    const Fact fact = make_fact(words_[0], words_[1], rng);
    question_tokens_ = fact.question.size();
    answer_tokens_max_ = static_cast<int64_t>(fact.answer.size()) + 4;  // a value of digits
    return {};
}

std::vector<TokenId> HaystackMaker::plain(std::string_view text) const {
    return tokenizer_->encode_plain(text).value();  // ASCII: it cannot fail
}

std::string HaystackMaker::draw_value(Rng& rng) const {
    const bool digits = options_.values == FactValues::kDigits ||
                        (options_.values == FactValues::kBoth && rng.next_double() < kDigitsShare);
    if (digits) return fmt::format(" {}", 1000 + rng.next_below(9000));
    const std::string& first = draw(words_, rng);
    return fmt::format(" {} {}", first, draw(words_, rng));
}

Fact HaystackMaker::make_fact(const std::string& first, const std::string& second, Rng& rng) const {
    Fact fact{.key = first + " " + second};
    const std::vector<TokenId> before = plain(fmt::format("The code of {} is", fact.key));
    const std::vector<TokenId> value = plain(draw_value(rng));
    fact.line = before;
    append(fact.line, value);
    append(fact.line, plain(".\n"));
    fact.answer = before;
    append(fact.answer, value);
    append(fact.answer, plain("."));
    fact.answer.push_back(tokenizer_->token_id(kEos));
    fact.value_idx = before.size();
    while (tokenizer_->token_bytes(fact.answer[fact.value_idx]) == " ") ++fact.value_idx;
    if (options_.place == HaystackPlace::kSystem)
        fact.question.push_back(tokenizer_->token_id(kUserMarker));
    append(fact.question, plain(fmt::format("What is the code of {}?", fact.key)));
    fact.question.push_back(tokenizer_->token_id(kAssistantMarker));
    fact.question.push_back(tokenizer_->token_id(kThinkClose));
    return fact;
}

std::vector<Fact> HaystackMaker::draw_facts(size_t count, Rng& rng) const {
    std::vector<Fact> facts;
    std::vector<std::string> first_words;
    std::set<std::pair<std::string, std::string>> keys;
    while (facts.size() < count) {
        const bool shared = !first_words.empty() && rng.next_double() < kSharedKeyShare;
        const std::string first = shared ? draw(first_words, rng) : draw(words_, rng);
        const std::string& second = draw(words_, rng);
        if (!keys.emplace(first, second).second) continue;
        first_words.push_back(first);
        facts.push_back(make_fact(first, second, rng));
    }
    return facts;
}

// Chunks of the text in random order, in another order whenever they are used up.
std::vector<TokenId> HaystackMaker::filler(size_t count, Rng& rng) const {
    std::vector<size_t> order(chunks_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::vector<TokenId> tokens;
    tokens.reserve(count + kChunkTokens);
    while (tokens.size() < count) {
        for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.next_below(i)]);
        for (size_t i = 0; i < order.size() && tokens.size() < count; ++i)
            append(tokens, chunks_[order[i]]);
    }
    tokens.resize(count);
    return tokens;
}

Result<Haystack> HaystackMaker::make(int64_t prompt_tokens, Rng& rng) const {
    const double wanted = options_.facts_per_1k * static_cast<double>(prompt_tokens) / 1024;
    // Beyond half of all keys, drawing different ones would take long.
    const size_t count = std::min(static_cast<size_t>(std::max(1.0, std::round(wanted))),
                                  words_.size() * words_.size() / 2);
    std::vector<Fact> facts = draw_facts(count, rng);
    const int64_t room = prompt_tokens - static_cast<int64_t>(opening_.size() + question_tokens_);
    int64_t lines = 0;
    for (const Fact& fact : facts) lines += static_cast<int64_t>(fact.line.size());
    while (lines > room && !facts.empty()) {
        lines -= static_cast<int64_t>(facts.back().line.size());
        facts.pop_back();
    }
    if (facts.empty())
        return make_error(ErrorCode::kInvalidArgument,
                          "a prompt of {} tokens has no room for a fact and a question",
                          prompt_tokens);
    const std::vector<TokenId> text = filler(static_cast<size_t>(room - lines), rng);
    std::vector<size_t> line_ends = {0};
    for (size_t i = 0; i < text.size(); ++i)
        if (tokenizer_->token_bytes(text[i]).ends_with('\n')) line_ends.push_back(i + 1);
    std::vector<size_t> cuts(facts.size());
    for (size_t& cut : cuts) cut = line_ends[rng.next_below(line_ends.size())];
    std::ranges::sort(cuts);
    Haystack haystack{.tokens = opening_, .facts = std::move(facts)};
    haystack.tokens.reserve(static_cast<size_t>(prompt_tokens));
    size_t done = 0;
    for (size_t i = 0; i < cuts.size(); ++i) {
        haystack.tokens.insert(haystack.tokens.end(), text.begin() + static_cast<long>(done),
                               text.begin() + static_cast<long>(cuts[i]));
        done = cuts[i];
        haystack.facts[i].position = static_cast<int64_t>(haystack.tokens.size());
        append(haystack.tokens, haystack.facts[i].line);
    }
    haystack.tokens.insert(haystack.tokens.end(), text.begin() + static_cast<long>(done),
                           text.end());
    return haystack;
}

}  // namespace baleen::agent
