#include "text/repeated_names.h"

namespace baleen {

RepeatedNames::RepeatedNames(const Vocabulary& vocabulary, Dialect dialect)
    : vocabulary_(vocabulary) {
    const std::string_view space = dialect == Dialect::kV41 ? " " : "";
    invoke_ = fmt::format("{}invoke name=\"", space);
    parameter_ = fmt::format("{}parameter name=\"", space);
}

void RepeatedNames::mask(std::span<uint64_t> allowed) const {
    if (!in_tag_) return;
    for (const std::string& name : names_) {
        const std::string repeated = fmt::format("{}{}\"", parameter_, name);
        if (repeated.starts_with(tag_))
            clear_tokens_from(std::string_view(repeated).substr(tag_.size()), allowed);
    }
}

// All tokens that begin with this text.
void RepeatedNames::clear_tokens_from(std::string_view text, std::span<uint64_t> allowed) const {
    uint32_t node = 0;
    for (const char c : text) {
        node = vocabulary_.child(node, static_cast<uint8_t>(c));
        if (node == 0) return;
    }
    for (uint32_t at = node; at < vocabulary_.nodes()[node].subtree_end; ++at) {
        const TokenId token = vocabulary_.nodes()[at].token;
        if (token < 0) continue;
        const auto bit = static_cast<size_t>(token);
        allowed[bit / 64] &= ~(uint64_t{1} << (bit % 64));
    }
}

void RepeatedNames::accept(TokenId token) {
    if (vocabulary_.symbol(token) != 0) {
        in_tag_ = vocabulary_.symbol(token) == kSymbolDsml;
        tag_.clear();
        return;
    }
    if (!in_tag_) return;
    tag_ += vocabulary_.bytes(token);
    if (tag_.starts_with(invoke_)) {
        names_.clear();
        in_tag_ = false;
    } else if (tag_.starts_with(parameter_)) {
        const size_t end = tag_.find('"', parameter_.size());
        if (end == tag_.npos) return;
        names_.insert(tag_.substr(parameter_.size(), end - parameter_.size()));
        in_tag_ = false;
    } else {
        in_tag_ = invoke_.starts_with(tag_) || parameter_.starts_with(tag_);
    }
}

}  // namespace baleen
