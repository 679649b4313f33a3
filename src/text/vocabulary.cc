#include "text/vocabulary.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "text/chat.h"
#include "text/grammar_cache.h"

namespace baleen {

Vocabulary::Vocabulary(const Tokenizer& tokenizer, size_t vocab_size)
    : size_(vocab_size), cache_(std::make_unique<GrammarCache>()) {
    CHECK_GE(vocab_size, tokenizer.vocab_size());
    ends_.push_back(0);
    for (size_t at = 0; at < tokenizer.vocab_size(); ++at) {
        const auto id = static_cast<TokenId>(at);
        if (!tokenizer.is_added(id)) text_ += tokenizer.token_bytes(id);
        ends_.push_back(static_cast<uint32_t>(text_.size()));
    }
    add_control_tokens(tokenizer);
    build_trie();
}

Vocabulary::~Vocabulary() = default;

void Vocabulary::add_control_tokens(const Tokenizer& tokenizer) {
    symbol_.assign(tokenizer.vocab_size(), 0);
    for (size_t at = 0; at < tokenizer.vocab_size(); ++at) {
        const auto id = static_cast<TokenId>(at);
        if (!tokenizer.is_added(id)) continue;
        const std::string_view text = tokenizer.token_bytes(id);
        Letter letter = kSymbolOther;
        if (text == kDsml) letter = kSymbolDsml;
        if (text == kThinkClose) letter = kSymbolThinkClose;
        if (text == kEos) letter = kSymbolEos;
        const bool is_never_allowed =
            text == kBos || text == kUserMarker || text == kAssistantMarker || text == kThinkOpen;
        if (is_never_allowed) continue;
        symbol_[at] = static_cast<uint8_t>(letter - kFirstSymbol + 1);
        tokens_of_[letter - kFirstSymbol].push_back(id);
    }
}

void Vocabulary::build_trie() {
    std::vector<TokenId> sorted(symbol_.size());
    std::iota(sorted.begin(), sorted.end(), 0);
    // An empty token would be a step that leads nowhere.
    std::erase_if(sorted, [this](TokenId id) { return bytes(id).empty(); });
    std::sort(sorted.begin(), sorted.end(),
              [this](TokenId a, TokenId b) { return bytes(a) < bytes(b); });
    nodes_.push_back({0, -1, 0, 0});
    std::vector<uint32_t> path = {0};  // the open nodes, by depth
    std::string_view before;
    const auto close_to = [&](size_t depth) {
        for (; path.size() > depth + 1; path.pop_back())
            nodes_[path.back()].subtree_end = static_cast<uint32_t>(nodes_.size());
    };
    for (const TokenId id : sorted) {
        const std::string_view text = bytes(id);
        CHECK_LT(text.size(), size_t{UINT16_MAX});
        const auto differs = std::mismatch(text.begin(), text.end(), before.begin(), before.end());
        close_to(static_cast<size_t>(differs.first - text.begin()));
        for (size_t at = path.size() - 1; at < text.size(); ++at) {
            path.push_back(static_cast<uint32_t>(nodes_.size()));
            nodes_.push_back(
                {0, -1, static_cast<uint16_t>(at + 1), static_cast<uint8_t>(text[at])});
        }
        nodes_[path.back()].token = id;
        before = text;
    }
    close_to(0);
    nodes_[0].subtree_end = static_cast<uint32_t>(nodes_.size());
    for (uint32_t at = 1; at < nodes_.size(); at = nodes_[at].subtree_end) {
        root_child_[nodes_[at].byte] = at;
        byte_token_[nodes_[at].byte] = nodes_[at].token >= 0;
    }
}

uint32_t Vocabulary::child(uint32_t node, uint8_t byte) const {
    if (node == 0) return root_child_[byte];
    for (uint32_t at = node + 1; at < nodes_[node].subtree_end; at = nodes_[at].subtree_end)
        if (nodes_[at].byte == byte) return at;
    return 0;
}

Letter Vocabulary::symbol(TokenId token) const {
    if (token < 0 || static_cast<size_t>(token) >= symbol_.size()) return 0;
    const uint8_t code = symbol_[static_cast<size_t>(token)];
    return code == 0 ? 0 : kFirstSymbol + code - 1;
}

std::span<const TokenId> Vocabulary::tokens_of(Letter symbol) const {
    return tokens_of_[symbol - kFirstSymbol];
}

std::string_view Vocabulary::bytes(TokenId token) const {
    if (token < 0 || static_cast<size_t>(token) >= symbol_.size()) return {};
    const auto at = static_cast<size_t>(token);
    return std::string_view(text_).substr(ends_[at], ends_[at + 1] - ends_[at]);
}

}  // namespace baleen
