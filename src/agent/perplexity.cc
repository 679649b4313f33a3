#include "agent/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/sampler.h"

namespace baleen::agent {
namespace {

constexpr int64_t kFirstBandEnd = 128;

std::vector<PerplexityBand> make_bands(int64_t context) {
    std::vector<PerplexityBand> bands;
    for (int64_t begin = 1, end = kFirstBandEnd; begin < context; begin = end, end *= 2)
        bands.push_back({.begin = begin, .end = std::min(end, context)});
    return bands;
}

void add(PerplexityBand& band, size_t bytes, double nats) {
    ++band.tokens;
    band.bytes += bytes;
    band.nats += nats;
}

}  // namespace

double PerplexityBand::bits_per_byte() const {
    return nats / std::log(2.0) / static_cast<double>(bytes);
}

double PerplexityBand::perplexity() const {
    return std::exp(nats / static_cast<double>(tokens));
}

Result<PerplexityReport> evaluate_perplexity(Engine& engine, const Tokenizer& tokenizer,
                                             std::string_view text,
                                             const PerplexityOptions& options,
                                             const EvalProgress& progress) {
    if (options.context < 2 || options.context > engine.config().max_position_embeddings)
        return make_error(ErrorCode::kInvalidArgument, "context {}, allowed 2 to {}",
                          options.context, engine.config().max_position_embeddings);
    const std::vector<TokenId> tokens = TRY(tokenizer.encode_plain(text));
    if (tokens.empty()) return make_error(ErrorCode::kInvalidArgument, "the text is empty");
    for (const TokenId token : tokens)
        if (token >= engine.config().vocab_size)
            return make_error(
                ErrorCode::kInvalidArgument,
                "the tokenizer gives id {}, the model has 0 to {}; they do not belong "
                "together",
                token, engine.config().vocab_size - 1);
    const auto begin = std::chrono::steady_clock::now();
    const auto window_tokens = static_cast<size_t>(options.context - 1);
    const size_t windows =
        std::min((tokens.size() + window_tokens - 1) / window_tokens, options.windows_max);
    PerplexityReport report{.all = {.begin = 1, .end = options.context},
                            .bands = make_bands(options.context)};
    const auto bos = static_cast<TokenId>(engine.config().bos_token_id);
    for (; report.windows < windows; ++report.windows) {
        if (!progress({.task = "windows", .done = report.windows, .total = windows}))
            return make_error(ErrorCode::kCancelled, "interrupted after {} of {} windows",
                              report.windows, windows);
        const size_t first = report.windows * window_tokens;
        const std::span<const TokenId> targets =
            std::span(tokens).subspan(first, std::min(window_tokens, tokens.size() - first));
        // The last target is only predicted.
        std::vector<TokenId> input = {bos};
        input.insert(input.end(), targets.begin(), targets.end() - 1);
        size_t done = 0;
        size_t band = 0;
        const auto score = [&](std::span<const float> logits) -> Result<void> {
            for (size_t row = 0; row < logits.size() / engine.vocab_size(); ++row, ++done) {
                const TokenId target = targets[done];
                const double nats = -model_logprob(
                    logits.subspan(row * engine.vocab_size(), engine.vocab_size()), target);
                const size_t bytes = tokenizer.token_bytes(target).size();
                if (static_cast<int64_t>(done) + 1 == report.bands[band].end) ++band;
                add(report.bands[band], bytes, nats);
                add(report.all, bytes, nats);
            }
            return {};
        };
        Session session = engine.new_session();
        TRY(session.extend_all_logits(input, score));
    }
    std::erase_if(report.bands, [](const PerplexityBand& band) { return band.tokens == 0; });
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    report.tok_s = static_cast<double>(report.all.tokens) / report.seconds;
    return report;
}

}  // namespace baleen::agent
