// The second half of EngineLoop: one pass over the weights, and what its logits lead to.
#include <algorithm>

#include "base/check.h"
#include "engine/engine_loop.h"

namespace baleen {
namespace {

bool contains(std::span<const TokenId> tokens, TokenId token) {
    return std::ranges::find(tokens, token) != tokens.end();
}

}  // namespace

void EngineLoop::run() {
    extend();
    draws_.clear();
    for (const Work& work : works_) finish_work(work);
    while (!draws_.empty()) {
        draw_all();
        accept_all();
    }
    if (engine_.options().mtp) propose_drafts();
    reap();
}

void EngineLoop::extend() {
    std::vector<Engine::Extension> extensions;
    std::vector<std::array<TokenId, 2>> guessed(works_.size());  // a last token and its guess
    for (size_t i = 0; i < works_.size(); ++i) {
        const Work& work = works_[i];
        Sequence& sequence = *work.sequence;
        const std::span<const TokenId> pending = sequence.pending();
        Engine::Extension& extension = extensions.emplace_back();
        extension.session = &*sequence.session;
        extension.tokens = pending.first(work.num_tokens);
        extension.wanted = work.num_tokens == pending.size() ? LogitsOf::kLast : LogitsOf::kNone;
        if (!work.guess) continue;
        guessed[i] = {pending.front(), *work.guess};
        extension.tokens = guessed[i];
        extension.wanted = LogitsOf::kAll;
        extension.last = Engine::LastToken::kGuess;
    }
    // Ids, context and memory were looked at before.
    engine_.extend_batch(extensions).value();
    ++stats_.steps;
}

void EngineLoop::finish_work(const Work& work) {
    Sequence& sequence = *work.sequence;
    if (sequence.phase == Sequence::Phase::kPrefill) {
        stats_.prefilled_tokens += work.num_tokens;
        Request& request = *sequence.request;
        if (!sequence.session->is_replaying() &&
            std::ranges::binary_search(sequence.snapshots, sequence.length()))
            keep_point(sequence);
        if (sequence.sampled() == 0)
            emit(request,
                 {.kind = TokenEvent::Kind::kPrefill,
                  .choice = sequence.choice,
                  .prefill_done = std::max(sequence.length(), request.cache.cached_tokens)});
        if (!sequence.pending().empty()) return;
        finish_prefill(sequence);
    } else {
        const int64_t last = sequence.session->length() - (work.guess ? 2 : 1);
        draws_.push_back({.sequence = &sequence,
                          .logits = sequence.session->logits_at(last),
                          .guess = work.guess});
        sequence.speculation.guess.reset();
    }
}

// All known tokens have run and the next one is drawn; the other choices draw theirs from the same
// logits.
void EngineLoop::finish_prefill(Sequence& sequence) {
    const bool first = sequence.sampled() == 0;
    sequence.phase = Sequence::Phase::kDecode;
    if (first)
        for (Sequence& choice : sequence.request->choices)
            if (choice.phase == Sequence::Phase::kDormant) fork(sequence, choice);
    const std::span<const float> logits = sequence.session->logits();
    for (Sequence& choice : sequence.request->choices)
        if (&choice == &sequence || (first && choice.phase != Sequence::Phase::kEnded))
            draws_.push_back({.sequence = &choice, .logits = logits});
    if (first)
        std::erase_if(draws_, [&](const Draw& draw) {
            return draw.sequence->request == sequence.request && !constrain(*draw.sequence);
        });
}

// choice goes on from where leader is, if there is a place for it.
void EngineLoop::fork(const Sequence& leader, Sequence& choice) {
    choice.tokens = leader.tokens;
    if (running_.size() >= options_.running_max) return;
    choice.session.emplace(engine_.new_session());
    choice.session->resume(leader.session->restore_point(), leader.tokens);
    choice.phase = Sequence::Phase::kDecode;
    running_.push_back(&choice);
}

void EngineLoop::draw_all() {
    engine_.pool().parallel_for(draws_.size(), [&](size_t i, size_t thread_idx) {
        run_draw(draws_[i], draw_scratch_[thread_idx]);
    });
}

// Where a guess was right, the logits after it are there and the next round draws from them.
void EngineLoop::accept_all() {
    std::vector<Draw> next;
    for (const Draw& draw : draws_) {
        Sequence& sequence = *draw.sequence;
        const bool hit = draw.guess && draw.result && draw.event.token == *draw.guess;
        if (draw.guess) {
            ++stats_.drafts_proposed;
            if (hit) ++stats_.drafts_accepted;
            if (!hit) sequence.session->drop_last();
            if (sequence.speculation.record(hit, sequence.sampled())) ++stats_.speculation_pauses;
        }
        accept(draw);
        if (hit && sequence.phase == Sequence::Phase::kDecode)
            next.push_back({.sequence = &sequence, .logits = sequence.session->logits()});
        // Choices that found no place beside their leader.
        if (sequence.phase == Sequence::Phase::kDormant) wait_for_kv(sequence);
    }
    draws_ = std::move(next);
}

void EngineLoop::accept(const Draw& draw) {
    Sequence& sequence = *draw.sequence;
    if (!draw.result) return finish(sequence, FinishReason::kFailed, draw.result.error());
    const GenerateRequest& asked = sequence.request->asked;
    const TokenId token = draw.event.token;
    sequence.tokens.push_back(token);
    ++stats_.sampled_tokens;
    emit(*sequence.request, draw.event);
    if (sequence.constraint != nullptr) sequence.constraint->accept(token);
    if (contains(asked.stop_tokens, token)) return finish(sequence, FinishReason::kStop);
    if (sequence.tokens_left(engine_.config()) == 0) return finish(sequence, FinishReason::kLength);
    constrain(sequence);
}

// Asks the constraint what may come next. False: nothing, and the sequence has ended.
bool EngineLoop::constrain(Sequence& sequence) {
    if (sequence.constraint == nullptr) return true;
    sequence.allowed.assign((engine_.vocab_size() + 63) / 64, ~uint64_t{0});
    switch (sequence.constraint->restrict_next(sequence.allowed,
                                               sequence.tokens_left(engine_.config()))) {
        case TokenConstraint::Restriction::kNone: sequence.allowed.clear(); return true;
        case TokenConstraint::Restriction::kFinished:
            finish(sequence, FinishReason::kStop);
            return false;
        case TokenConstraint::Restriction::kMasked: break;
    }
    if (engine_.vocab_size() % 64 != 0)
        sequence.allowed.back() &= (uint64_t{1} << engine_.vocab_size() % 64) - 1;
    if (std::ranges::any_of(sequence.allowed, [](uint64_t word) { return word != 0; })) return true;
    finish(sequence, FinishReason::kFailed,
           make_error(ErrorCode::kInvalidArgument,
                      "the constraint allows no token at all after {} sampled ones",
                      sequence.sampled()));
    return false;
}

// The MTP block proposes what comes after the last tokens sampled.
void EngineLoop::propose_drafts() {
    const size_t vocab = engine_.vocab_size();
    if (draft_logits_.size() == 0) draft_logits_ = Buffer<float>(options_.running_max * vocab);
    std::vector<Engine::Draft> drafts;
    std::vector<Sequence*> sequences;
    for (Sequence* sequence : running_) {
        if (sequence->phase != Sequence::Phase::kDecode || sequence->speculation.guess ||
            sequence->sampled() < sequence->speculation.resumes_at ||
            sequence->tokens_left(engine_.config()) < 2)
            continue;
        drafts.push_back({.session = &*sequence->session,
                          .next = sequence->tokens.back(),
                          .logits = draft_logits_.row(drafts.size(), vocab)});
        sequences.push_back(sequence);
    }
    if (drafts.empty()) return;
    engine_.draft_batch(drafts);
    engine_.pool().parallel_for(drafts.size(), [&](size_t i, size_t) {
        sequences[i]->speculation.guess = best_allowed(drafts[i].logits, sequences[i]->allowed);
    });
}

// ---- ends --------------------------------------------------------------------------------------

void EngineLoop::keep_point(const Sequence& sequence) {
    const std::span<const TokenId> tokens = std::span(sequence.tokens).first(sequence.length());
    if (!options_.prefix_cache || tokens.empty()) return;
    if (!cache_.contains(tokens)) cache_.insert(tokens, sequence.session->restore_point());
}

void EngineLoop::finish(Sequence& sequence, FinishReason reason, Error error) {
    if (sequence.holds_kv()) {
        if (!sequence.session->is_replaying()) keep_point(sequence);
        retired_.push_back(std::move(*sequence.session));  // draws may still read its logits
        sequence.session.reset();
        std::erase(running_, &sequence);
    }
    std::erase(waiting_, &sequence);
    if (blocked_ == &sequence) blocked_ = nullptr;
    sequence.phase = Sequence::Phase::kEnded;
    --sequence.request->choices_left;
    emit(*sequence.request, {.kind = TokenEvent::Kind::kEnd,
                             .choice = sequence.choice,
                             .reason = reason,
                             .error = std::move(error)});
}

size_t EngineLoop::cancel_all() {
    const size_t num_active = requests_.size();
    for (const auto& request : requests_) request->events->cancel();
    works_.clear();
    end_cancelled();
    return num_active;
}

void EngineLoop::reap() {
    retired_.clear();
    std::erase_if(requests_, [](const auto& request) { return request->choices_left == 0; });
}

// ---- events ------------------------------------------------------------------------------------

void EngineLoop::emit(const Request& request, TokenEvent event) {
    outbox_.emplace_back(request.events, std::move(event));
}

void EngineLoop::deliver() {
    for (auto& [events, event] : outbox_) events->push(std::move(event));
    outbox_.clear();
}

}  // namespace baleen
