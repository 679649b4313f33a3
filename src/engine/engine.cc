#include "engine/engine.h"

#include <algorithm>

#include "base/check.h"

namespace baleen {
namespace {

// Rows of logits held at once when every position's are wanted.
constexpr size_t kAllLogitsFloats = size_t{16} << 20;

// Rows that a sequence carries over for the MTP block at most.
constexpr size_t kCarriedRowsMax = 2;

// Where a replay up to `position` begins. Each layer's window reaches one window further back; then
// whole pages on top of that.
int64_t replay_start(const KvSpec& spec, int64_t position) {
    const int64_t layers = static_cast<int64_t>(spec.compress_ratios.size());
    const int64_t reach = (layers + 1) * spec.sliding_window + kPageTokens;
    return std::max<int64_t>(0, position - reach) / kPageTokens * kPageTokens;
}

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
    for (size_t done = 0; done < tokens.size();) {
        const std::span<const TokenId> chunk =
            tokens.subspan(done, std::min(chunk_max, tokens.size() - done));
        const bool last = done + chunk.size() == tokens.size();
        const Engine::Extension extension{.session = this,
                                          .tokens = chunk,
                                          .wanted = sink != nullptr ? LogitsOf::kAll
                                                    : last          ? LogitsOf::kLast
                                                                    : LogitsOf::kNone};
        TRY(engine.run_batch({&extension, 1},
                             sink != nullptr ? engine.all_logits_.data() : nullptr));
        if (sink != nullptr) {
            const std::span<const float> all =
                engine.all_logits_.span().first(chunk.size() * vocab);
            logits_.assign(all.end() - static_cast<long>(vocab), all.end());
            logits_first_ = length() - 1;
            logits_rows_ = 1;
            TRY((*sink)(all));
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
    return run(tokens, progress, chunk_tokens, nullptr);
}

Result<void> Session::extend_all_logits(std::span<const TokenId> tokens, const LogitsSink& sink,
                                        size_t chunk_tokens) {
    TRY(check(tokens));
    if (engine_->all_logits_.size() == 0)
        engine_->all_logits_ = Buffer<float>(std::max(
            engine_->vocab_size(), std::min(kAllLogitsFloats, engine_->model_.options().rows_max *
                                                                  engine_->vocab_size())));
    return run(tokens, nullptr, chunk_tokens, &sink);
}

std::span<const float> Session::logits_at(int64_t position) const {
    CHECK_LE(logits_first_, position);
    CHECK_LT(position, logits_first_ + static_cast<int64_t>(logits_rows_));
    const size_t vocab = engine_->vocab_size();
    return std::span(logits_).subspan(static_cast<size_t>(position - logits_first_) * vocab, vocab);
}

size_t Session::carried_rows() const {
    return carry_.size() / engine_->stream_floats();
}

// tokens have gone through the model; logits of the last ones are there.
void Session::accept_pass(std::span<const TokenId> tokens, size_t logits_rows) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    logits_rows_ = logits_rows;
    logits_first_ = length() - static_cast<int64_t>(logits_rows);
}

Result<void> Session::draft_logits(TokenId next, std::span<float> logits) {
    TRY(check({&next, 1}));
    const Engine::Draft draft{.session = this, .next = next, .logits = logits};
    engine_->draft_batch({&draft, 1});
    return {};
}

Session Session::fork() const {
    Session copy(*engine_);
    copy.restore(snapshot());
    return copy;
}

Snapshot Session::snapshot() const {
    std::vector<float> logits;
    if (logits_rows_ > 0 && length() > 0)
        logits.assign(this->logits().begin(), this->logits().end());
    return Snapshot(RestorePoint(kv_, carry_), tokens_, std::move(logits));
}

void Session::restore(const Snapshot& snapshot) {
    resume(snapshot.point_, snapshot.tokens_);
    logits_ = snapshot.logits_;
    logits_rows_ = logits_.empty() ? 0 : 1;
    logits_first_ = length() - 1;
}

RestorePoint Session::restore_point() const {
    CHECK(!is_replaying());
    return RestorePoint(kv_, carry_);
}

int64_t Session::resumed_length(const RestorePoint& point, int64_t prefix_tokens) {
    if (prefix_tokens == point.position()) return prefix_tokens;
    if (prefix_tokens + 1 == point.position() && point.kv_.can_drop_last()) return prefix_tokens;
    return replay_start(point.kv_.layout().spec, prefix_tokens);
}

void Session::resume(const RestorePoint& point, std::span<const TokenId> prefix) {
    const int64_t position = static_cast<int64_t>(prefix.size());
    CHECK_LE(position, point.position());
    kv_ = point.kv_;
    carry_ = point.carry_;
    drafted_after_.reset();
    tokens_.assign(prefix.begin(), prefix.end());
    logits_rows_ = 0;
    if (position == point.position()) return;
    if (position == resumed_length(point, position) && position > 0) {
        tokens_.push_back(0);  // whatever the point's last token was
        drop_last();
    } else {
        begin_replay(position);
    }
}

void Session::drop_last() {
    kv_.drop_last();
    tokens_.pop_back();
    if (logits_rows_ > 0) --logits_rows_;
    // After a guess the row of the token before it is still there. Otherwise that row has been run
    // with the dropped token as its next, and cannot be run again.
    if (!carry_.empty()) carry_.resize(carry_.size() - engine_->stream_floats());
    drafted_after_.reset();
}

// Cuts to `position` and steps back to where the tokens before it must be run again from.
void Session::begin_replay(int64_t position) {
    const int64_t from = replay_start(kv_.layout().spec, position);
    kv_.begin_replay(from, position);
    tokens_.resize(static_cast<size_t>(from));
    logits_rows_ = 0;
    carry_.clear();
    drafted_after_.reset();
}

Result<void> Session::rewind(int64_t position) {
    if (position < 0 || position > length())
        return make_error(ErrorCode::kInvalidArgument, "cannot rewind to {}, allowed 0 to {}",
                          position, length());
    if (position == length()) return {};
    const Snapshot before = snapshot();
    begin_replay(position);
    const std::span<const TokenId> replayed =
        std::span(before.tokens_).first(static_cast<size_t>(position)).subspan(tokens_.size());
    Result<void> result = run(replayed, nullptr, SIZE_MAX, nullptr);
    if (!result) restore(before);
    return result;
}

Result<void> Session::fill_synthetic(int64_t tokens, uint64_t seed) {
    if (tokens < length() || tokens > engine_->config().max_position_embeddings)
        return make_error(ErrorCode::kInvalidArgument, "cannot fill to {} tokens, allowed {} to {}",
                          tokens, length(), engine_->config().max_position_embeddings);
    TRY(kv_.fill_synthetic(tokens, seed));
    tokens_.resize(static_cast<size_t>(tokens), 0);
    logits_rows_ = 0;
    carry_.assign(engine_->options_.mtp ? engine_->stream_floats() : 0, 0.0f);
    drafted_after_.reset();
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
    if (options.mtp)
        streams_ = Buffer<float>((1 + kCarriedRowsMax) * options.model.rows_max * stream_floats());
}

size_t Engine::stream_floats() const {
    return static_cast<size_t>(config().hc_mult * config().hidden_size);
}

Result<void> Engine::extend_batch(std::span<const Extension> extensions) {
    for (const Extension& e : extensions) TRY(e.session->check(e.tokens));
    return run_batch(extensions, nullptr);
}

// logits: where those of the only extension go, or null: into the sessions.
Result<void> Engine::run_batch(std::span<const Extension> extensions, float* logits) {
    steps_.clear();
    size_t streams_row = 0;
    for (const Extension& e : extensions) {
        Session& session = *e.session;
        const size_t rows = e.wanted == LogitsOf::kAll    ? e.tokens.size()
                            : e.wanted == LogitsOf::kLast ? 1
                                                          : 0;
        if (logits == nullptr && session.logits_.size() < rows * vocab_size())
            session.logits_.resize(rows * vocab_size());
        if (options_.mtp) streams_row += session.carried_rows();
        steps_.push_back(
            {.kv = &session.kv_,
             .tokens = e.tokens,
             .wanted = e.wanted,
             .logits = logits != nullptr ? logits : session.logits_.data(),
             .streams = options_.mtp ? streams_.data() + streams_row * stream_floats() : nullptr});
        streams_row += e.tokens.size();
    }
    TRY(model_.forward(steps_));
    mtp_steps_.clear();
    for (size_t i = 0; i < extensions.size(); ++i) {
        const Extension& e = extensions[i];
        const size_t rows = e.wanted == LogitsOf::kAll    ? e.tokens.size()
                            : e.wanted == LogitsOf::kLast ? 1
                                                          : 0;
        e.session->accept_pass(e.tokens, logits == nullptr ? rows : 0);
        if (options_.mtp) settle_mtp_rows(e, steps_[i].streams);
    }
    run_mtp();
    return {};
}

// Plans the MTP rows whose next token is now certain, and carries the others. Row i of the block
// combines the streams at i with token i + 1; the first token of a sequence has no row before it.
// streams: of the extension's tokens, with room for the carried ones before them.
void Engine::settle_mtp_rows(const Extension& e, float* streams) {
    Session& session = *e.session;
    const size_t floats = stream_floats();
    const int64_t end = session.length();
    const int64_t begin = end - static_cast<int64_t>(e.tokens.size());
    const int64_t guesses = e.last == LastToken::kGuess ? 1 : 0;
    CHECK_GT(static_cast<int64_t>(e.tokens.size()), guesses);
    std::ranges::copy(session.carry_, streams - session.carry_.size());
    const int64_t carried =
        session.drafted_after_ == e.tokens[0] ? 0 : static_cast<int64_t>(session.carried_rows());
    const int64_t first = begin - carried;
    const int64_t last = end - 1 - guesses;  // the first row that waits
    if (first < last)
        mtp_steps_.push_back({.kv = &session.kv_,
                              .first_position = first,
                              .next_tokens = std::span(session.tokens_)
                                                 .subspan(static_cast<size_t>(first) + 1,
                                                          static_cast<size_t>(last - first)),
                              .streams = streams - static_cast<size_t>(carried) * floats});
    const float* const tail = streams + e.tokens.size() * floats;
    session.carry_.assign(tail - static_cast<size_t>(end - last) * floats, tail);
    session.drafted_after_.reset();
}

// Runs mtp_steps_, in passes of at most rows_max rows.
void Engine::run_mtp() {
    const size_t rows_max = model_.options().rows_max;
    size_t room = rows_max;
    const auto flush = [&] {
        if (!mtp_slice_.empty()) model_.forward_mtp(mtp_slice_);
        mtp_slice_.clear();
        room = rows_max;
    };
    for (MtpStep step : mtp_steps_) {
        while (step.next_tokens.size() > room) {
            MtpStep part = step;
            part.next_tokens = step.next_tokens.first(room);
            part.wanted = LogitsOf::kNone;
            mtp_slice_.push_back(part);
            step.first_position += static_cast<int64_t>(room);
            step.next_tokens = step.next_tokens.subspan(room);
            step.streams += room * stream_floats();
            flush();
        }
        mtp_slice_.push_back(step);
        room -= step.next_tokens.size();
        if (room == 0) flush();
    }
    flush();
}

void Engine::draft_batch(std::span<const Draft> drafts) {
    CHECK(options_.mtp);
    mtp_steps_.clear();
    draft_nexts_.resize(drafts.size());
    for (size_t i = 0; i < drafts.size(); ++i) {
        Session& session = *drafts[i].session;
        const size_t rows = session.carried_rows();
        CHECK_GT(rows, 0u);
        CHECK_EQ(drafts[i].logits.size(), vocab_size());
        draft_nexts_[i] = {rows == 2 ? session.tokens_.back() : drafts[i].next, drafts[i].next};
        // Rows go into the MTP ring, to be run again if another token follows.
        session.kv_.own_hot();
        mtp_steps_.push_back({.kv = &session.kv_,
                              .first_position = session.length() - static_cast<int64_t>(rows),
                              .next_tokens = std::span(draft_nexts_[i]).first(rows),
                              .streams = session.carry_.data(),
                              .wanted = LogitsOf::kLast,
                              .logits = drafts[i].logits.data()});
    }
    run_mtp();
    for (const Draft& draft : drafts) {
        Session& session = *draft.session;
        session.carry_.erase(session.carry_.begin(),
                             session.carry_.end() - static_cast<long>(stream_floats()));
        session.drafted_after_ = draft.next;
    }
}

}  // namespace baleen
