#include "text/prompt_writer.h"

#include <algorithm>

namespace baleen {

void PromptWriter::control(std::string_view token) {
    pieces_.emplace_back(ControlPiece{token});
}

void PromptWriter::text(std::string_view text) {
    if (text.empty()) return;
    if (!pieces_.empty())
        if (auto* last = std::get_if<TextPiece>(&pieces_.back())) {
            last->text += text;
            return;
        }
    pieces_.emplace_back(TextPiece{std::string(text)});
}

void PromptWriter::fixed(std::string_view text) {
    // The markers that the fixed texts hold.
    static constexpr std::string_view kMarkers[] = {kThinkOpen, kThinkClose, kDsml};
    while (true) {
        size_t begin = text.size();
        std::string_view first;
        for (const std::string_view marker : kMarkers) {
            const size_t at = text.find(marker);
            if (at >= begin) continue;
            begin = at;
            first = marker;
        }
        this->text(text.substr(0, begin));
        if (first.empty()) return;
        control(first);
        text.remove_prefix(begin + first.size());
    }
}

void PromptWriter::sampled(const std::vector<TokenId>& tokens) {
    pieces_.emplace_back(SampledPiece{tokens});
}

}  // namespace baleen
