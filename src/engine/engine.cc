#include "engine/engine.h"

#include <algorithm>

#include "base/check.h"

namespace baleen {
namespace {

// Rows of logits held at once when every position's are wanted.
constexpr size_t kAllLogitsFloats = size_t{16} << 20;

}  // namespace

// ---- Session -----------------------------------------------------------------------------------

Session::Session(Engine& engine)
    : engine_(&engine), kv_(engine.model_.kv_layout(), engine.pages_) {}

Result<void> Session::check(std::span<const TokenId> tokens) const {
    const Config& config = engine_->config();
    for (size_t i = 0; i < tokens.size(); ++i)
        if (tokens[i] < 0 || tokens[i] >= config.vocab_size)
            return make_error(ErrorCode::kInvalidArgument,
                              "token {} at position {} is outside the vocabulary, allowed 0 to {}",
                              tokens[i], length() + static_cast<int64_t>(i), config.vocab_size - 1);
    const int64_t end = length() + static_cast<int64_t>(tokens.size());
    if (end > config.max_position_embeddings)
        return make_error(ErrorCode::kExhausted,
                          "context is full: {} tokens asked for, the model has {}", end,
                          config.max_position_embeddings);
    return {};
}

Result<void> Session::run(std::span<const TokenId> tokens, const Progress& progress,
                          size_t chunk_tokens, const LogitsSink* sink) {
    Engine& engine = *engine_;
    const size_t vocab = engine.vocab_size();
    size_t chunk_max = std::min(engine.model_.options().rows_max, chunk_tokens);
    if (sink != nullptr) chunk_max = std::min(chunk_max, engine.all_logits_.size() / vocab);
    CHECK_GT(chunk_max, 0u);
    const size_t carry = engine.stream_floats();
    const bool mtp = engine.options_.mtp;
    for (size_t done = 0; done < tokens.size();) {
        const std::span<const TokenId> chunk =
            tokens.subspan(done, std::min(chunk_max, tokens.size() - done));
        const bool last = done + chunk.size() == tokens.size();
        const int64_t position = kv_.length();
        logits_.resize(vocab);
        const SequenceStep step{
            .kv = &kv_,
            .tokens = chunk,
            .wanted = sink != nullptr ? LogitsOf::kAll
                      : last          ? LogitsOf::kLast
                                      : LogitsOf::kNone,
            .logits = sink != nullptr ? engine.all_logits_.data() : logits_.data(),
            .streams = mtp ? engine.streams_.data() + carry : nullptr};
        TRY(engine.model_.forward({&step, 1}));
        if (sink != nullptr) {
            const std::span<const float> all =
                engine.all_logits_.span().first(chunk.size() * vocab);
            std::ranges::copy(all.last(vocab), logits_.begin());
            TRY((*sink)(all));
        }
        if (mtp) {
            // Row i of the MTP block: the streams before chunk[i], and chunk[i]. The very first
            // token of a sequence has none before it.
            float* const streams = engine.streams_.data();
            std::ranges::copy(carry_, streams);
            const size_t skip = position == 0 ? 1 : 0;
            if (chunk.size() > skip) {
                const MtpStep mtp_step{.kv = &kv_,
                                       .first_position = position - 1 + static_cast<int64_t>(skip),
                                       .next_tokens = chunk.subspan(skip),
                                       .streams = streams + skip * carry};
                engine.model_.forward_mtp({&mtp_step, 1});
            }
            carry_.assign(streams + chunk.size() * carry, streams + (chunk.size() + 1) * carry);
        }
        done += chunk.size();
        if (progress && !progress(done, tokens.size()) && !last)
            return make_error(ErrorCode::kCancelled, "cancelled after {} of {} tokens", done,
                              tokens.size());
    }
    return {};
}

Result<void> Session::extend(std::span<const TokenId> tokens, const Progress& progress,
                             size_t chunk_tokens) {
    TRY(check(tokens));
    const int64_t before = length();
    Result<void> result = run(tokens, progress, chunk_tokens, nullptr);
    tokens_.insert(tokens_.end(), tokens.begin(),
                   tokens.begin() + static_cast<long>(length() - before));
    return result;
}

Result<void> Session::extend_all_logits(std::span<const TokenId> tokens, const LogitsSink& sink,
                                        size_t chunk_tokens) {
    TRY(check(tokens));
    if (engine_->all_logits_.size() == 0)
        engine_->all_logits_ = Buffer<float>(std::max(
            engine_->vocab_size(), std::min(kAllLogitsFloats, engine_->model_.options().rows_max *
                                                                  engine_->vocab_size())));
    const int64_t before = length();
    Result<void> result = run(tokens, nullptr, chunk_tokens, &sink);
    tokens_.insert(tokens_.end(), tokens.begin(),
                   tokens.begin() + static_cast<long>(length() - before));
    return result;
}

std::span<const float> Session::logits() const {
    CHECK_GT(length(), 0);
    return logits_;
}

Result<void> Session::draft_logits(TokenId next, std::span<float> logits) {
    CHECK(engine_->options_.mtp);
    CHECK_GT(length(), 0);
    CHECK_EQ(logits.size(), engine_->vocab_size());
    TRY(check({&next, 1}));
    // Writes the MTP ring's slot of the last position, which extend(next) writes again. The slot
    // belongs to this session only after prepare().
    TRY(kv_.prepare(1));
    const MtpStep step{.kv = &kv_,
                       .first_position = length() - 1,
                       .next_tokens = {&next, 1},
                       .streams = carry_.data(),
                       .wanted = LogitsOf::kLast,
                       .logits = logits.data()};
    engine_->model_.forward_mtp({&step, 1});
    return {};
}

Session Session::fork() const {
    Session copy(*engine_);
    copy.restore(snapshot());
    return copy;
}

Snapshot Session::snapshot() const {
    return Snapshot(kv_, tokens_, logits_, carry_);
}

void Session::restore(const Snapshot& snapshot) {
    kv_ = snapshot.kv_;
    tokens_ = snapshot.tokens_;
    logits_ = snapshot.logits_;
    carry_ = snapshot.carry_;
}

Result<void> Session::rewind(int64_t position) {
    if (position < 0 || position > length())
        return make_error(ErrorCode::kInvalidArgument, "cannot rewind to {}, allowed 0 to {}",
                          position, length());
    if (position == length()) return {};
    // Each layer's window reaches one window further back; then whole blocks on top of that.
    const Config& config = engine_->config();
    const int64_t layers = static_cast<int64_t>(config.compress_ratios.size());
    const int64_t reach = (layers + 1) * config.sliding_window + kPageTokens;
    const int64_t from = std::max<int64_t>(0, position - reach) / kPageTokens * kPageTokens;
    const Snapshot before = snapshot();
    kv_.begin_replay(from, position);
    tokens_.resize(static_cast<size_t>(position));
    std::ranges::fill(carry_, 0.0f);
    Result<void> replayed =
        run(std::span(tokens_).subspan(static_cast<size_t>(from)), nullptr, SIZE_MAX, nullptr);
    if (!replayed) restore(before);
    return replayed;
}

Result<void> Session::fill_synthetic(int64_t tokens, uint64_t seed) {
    if (tokens < length() || tokens > engine_->config().max_position_embeddings)
        return make_error(ErrorCode::kInvalidArgument, "cannot fill to {} tokens, allowed {} to {}",
                          tokens, length(), engine_->config().max_position_embeddings);
    TRY(kv_.fill_synthetic(tokens, seed));
    tokens_.resize(static_cast<size_t>(tokens), 0);
    carry_.resize(engine_->options_.mtp ? engine_->stream_floats() : 0);
    return {};
}

// ---- Engine ------------------------------------------------------------------------------------

Result<std::unique_ptr<Engine>> Engine::load(const std::string& directory,
                                             const EngineOptions& options) {
    auto weights = TRY(Weights::load(directory));
    if (options.mtp && !weights->mtp)
        return make_error(ErrorCode::kUnsupported,
                          "{}: the checkpoint has no MTP block of the original kind", directory);
    return std::make_unique<Engine>(std::move(weights), options);
}

Engine::Engine(std::shared_ptr<const Weights> weights, const EngineOptions& options)
    : options_(options),
      pool_(options.num_threads),
      model_(std::move(weights), pool_, options.model),
      pages_(std::make_shared<PagePool>(
          model_.kv_layout()->page_bytes,
          options.kv_bytes_max / std::max<size_t>(model_.kv_layout()->page_bytes, 1))) {
    if (options.mtp) streams_ = Buffer<float>((options.model.rows_max + 1) * stream_floats());
}

size_t Engine::stream_floats() const {
    return static_cast<size_t>(config().hc_mult * config().hidden_size);
}

Result<void> Engine::extend_batch(std::span<const Extension> extensions) {
    CHECK(!options_.mtp);
    std::vector<SequenceStep> steps;
    for (const Extension& e : extensions) {
        TRY(e.session->check(e.tokens));
        e.session->logits_.resize(vocab_size());
        steps.push_back({.kv = &e.session->kv_,
                         .tokens = e.tokens,
                         .wanted = LogitsOf::kLast,
                         .logits = e.session->logits_.data()});
    }
    TRY(model_.forward(steps));
    for (const Extension& e : extensions)
        e.session->tokens_.insert(e.session->tokens_.end(), e.tokens.begin(), e.tokens.end());
    return {};
}

}  // namespace baleen
