#include "engine/engine_loop.h"

#include <algorithm>

#include "base/check.h"

namespace baleen {
namespace {

// One prefill turn in so many goes to the oldest request, the others to the shortest: short prompts
// overtake long ones, and long ones get on at a quarter of the speed at least.
constexpr size_t kPrefillTurns = 4;

// Boundaries that leave restore points, of one prompt: the first ones (what other prompts share)
// and the last ones (where this one is taken up again).
constexpr size_t kFirstBoundaries = 4;
constexpr size_t kLastBoundaries = 12;
// Restore points that the length of a prompt alone leaves, at most.
constexpr size_t kSpacedSnapshots = 8;

// Prompts looked at in one plan that wait for what another one runs.
constexpr size_t kDeferredMax = 8;

size_t pages_of(size_t tokens) {
    constexpr size_t kTokens = static_cast<size_t>(kPageTokens);
    return (tokens + kTokens - 1) / kTokens;
}

bool is_older(const Sequence& a, const Sequence& b) {
    return std::pair(a.request->id, a.choice) < std::pair(b.request->id, b.choice);
}

size_t rows_left(const Sequence& sequence) {
    return sequence.holds_kv() ? sequence.pending().size() : sequence.estimated_rows;
}

}  // namespace

EngineLoop::EngineLoop(Engine& engine, const SchedulerOptions& options)
    : engine_(engine),
      options_(options),
      rows_max_(engine.model().options().rows_max),
      cache_(engine.pages().page_bytes(), options.cache_bytes_max),
      draw_scratch_(engine.pool().num_threads()) {
    CHECK_GT(options.running_max, 0u);
    CHECK_GT(options.prefill_rows_busy, 0u);
    CHECK_GT(options.snapshot_tokens, 0u);
}

void EngineLoop::add(std::unique_ptr<Request> request) {
    ++stats_.requests;
    Sequence& first = request->choices[0];
    first.tokens = request->asked.prompt;
    wait_for_kv(first);
    requests_.push_back(std::move(request));
}

void EngineLoop::wait_for_kv(Sequence& sequence) {
    sequence.phase = Sequence::Phase::kWaiting;
    sequence.estimated_rows =
        sequence.tokens.size() - cache_.lookup(sequence.tokens).resumed_tokens;
    waiting_.push_back(&sequence);
}

SchedulerStats EngineLoop::stats() const {
    SchedulerStats stats = stats_;
    stats.queued = static_cast<size_t>(
        std::ranges::count_if(requests_, [](const auto& r) { return !r->admitted; }));
    stats.running = running_.size();
    stats.cache_entries = cache_.entries();
    stats.cache_evictions = cache_.evictions();
    stats.cache_bytes = cache_.bytes();
    stats.kv_bytes_in_use = engine_.pages().pages_in_use() * engine_.pages().page_bytes();
    stats.kv_bytes_max = engine_.options().kv_bytes_max;
    return stats;
}

bool EngineLoop::plan() {
    end_cancelled();
    is_refused_ = false;
    barred_.clear();
    do {
        for (const auto& request : requests_) request->room = request->events->room();
        if (blocked_ != nullptr && blocked_->request->room == 0) blocked_ = nullptr;
        works_.clear();
        const size_t decode_rows = plan_decodes();
        plan_prefill(decode_rows == 0 ? rows_max_
                                      : std::min(options_.prefill_rows_busy,
                                                 rows_max_ - std::min(rows_max_, decode_rows)));
        make_room();
    } while (works_.empty() && make_way());
    reap();
    return !works_.empty();
}

void EngineLoop::end_cancelled() {
    for (const auto& request : requests_) {
        if (!request->events->is_cancelled()) continue;
        ++stats_.cancelled;
        for (Sequence& choice : request->choices)
            if (choice.phase != Sequence::Phase::kEnded) finish(choice, FinishReason::kCancelled);
    }
    reap();
}

// ---- decoding ----------------------------------------------------------------------------------

// Every decoding sequence whose reader keeps up, each with its last token; then drafts, where rows
// are left. Returns the rows taken.
size_t EngineLoop::plan_decodes() {
    const bool prefill_waits = !waiting_.empty() || std::ranges::any_of(running_, [](auto* s) {
        return s->phase == Sequence::Phase::kPrefill;
    });
    const size_t reserved = prefill_waits ? std::max<size_t>(rows_max_ / 4, 1) : 0;
    const size_t rows = std::max<size_t>(rows_max_ - std::min(rows_max_, reserved), 1);
    for (size_t i = 0; i < running_.size() && works_.size() < rows; ++i) {
        Sequence& sequence = *running_[(decode_turn_ + i) % running_.size()];
        if (sequence.phase != Sequence::Phase::kDecode || sequence.request->room == 0) continue;
        --sequence.request->room;
        works_.push_back({.sequence = &sequence, .num_tokens = 1});
    }
    if (works_.size() == rows && works_.size() < running_.size()) ++decode_turn_;
    size_t rows_taken = works_.size();
    for (Work& work : works_) {
        Request& request = *work.sequence->request;
        if (rows_taken == rows) break;
        if (!work.sequence->speculation.guess || request.room == 0) continue;
        work.guess = work.sequence->speculation.guess;
        --request.room;
        ++rows_taken;
    }
    return rows_taken;
}

// ---- prefill -----------------------------------------------------------------------------------

void EngineLoop::plan_prefill(size_t rows) {
    deferred_.clear();
    bool oldest = prefill_turn_ % kPrefillTurns == kPrefillTurns - 1;
    bool took_turn = false;
    while (rows > 0) {
        Sequence* sequence = pick_prefill(oldest);
        if (sequence == nullptr) break;
        if (!sequence->holds_kv()) {
            if (Sequence* const other = prefill_to_wait_for(*sequence)) {
                deferred_.push_back(sequence);
                if (is_planned(*other)) continue;
                sequence = other;
            } else if (!admit(*sequence)) {
                continue;
            }
        }
        size_t num_tokens = std::min(rows, sequence->pending().size());
        const auto snapshot = std::ranges::upper_bound(sequence->snapshots, sequence->length());
        if (snapshot != sequence->snapshots.end())
            num_tokens = std::min(num_tokens, *snapshot - sequence->length());
        works_.push_back({.sequence = sequence, .num_tokens = num_tokens});
        rows -= num_tokens;
        oldest = false;
        took_turn = true;
    }
    if (took_turn) ++prefill_turn_;
}

// The next sequence to run known tokens, running or to be admitted; null: none.
Sequence* EngineLoop::pick_prefill(bool oldest) const {
    Sequence* best = nullptr;
    const auto consider = [&](Sequence* sequence) {
        if (best == nullptr) {
            best = sequence;
        } else if (oldest || rows_left(*sequence) == rows_left(*best)) {
            if (is_older(*sequence, *best)) best = sequence;
        } else if (rows_left(*sequence) < rows_left(*best)) {
            best = sequence;
        }
    };
    for (Sequence* sequence : running_)
        if (sequence->phase == Sequence::Phase::kPrefill && !is_planned(*sequence))
            consider(sequence);
    for (Sequence* sequence : waiting_)
        if (may_admit(*sequence)) consider(sequence);
    return best;
}

bool EngineLoop::is_planned(const Sequence& sequence) const {
    return std::ranges::any_of(works_, [&](const Work& w) { return w.sequence == &sequence; });
}

bool EngineLoop::may_admit(const Sequence& sequence) const {
    const auto in = [&](const std::vector<const Sequence*>& list) {
        return std::ranges::find(list, &sequence) != list.end();
    };
    return running_.size() < options_.running_max && sequence.request->room > 0 &&
           deferred_.size() < kDeferredMax && !in(deferred_) && !in(barred_) &&
           (blocked_ == nullptr || (blocked_ == &sequence && !is_refused_));
}

// A sequence in prefill that is going to run tokens which this one, waiting, begins with as well:
// it leaves a restore point where the two part. Null: there is none, or what it has run already is
// in the cache now.
Sequence* EngineLoop::prefill_to_wait_for(const Sequence& sequence) {
    if (!options_.prefix_cache) return nullptr;
    const size_t worthwhile =
        cache_.lookup(sequence.tokens).resumed_tokens + static_cast<size_t>(kPageTokens);
    for (Sequence* other : running_) {
        if (other->phase != Sequence::Phase::kPrefill) continue;
        const auto parting = std::ranges::mismatch(sequence.tokens, other->tokens).in1;
        const size_t shared = static_cast<size_t>(parting - sequence.tokens.begin());
        const auto replay_end = static_cast<size_t>(other->session->kv().replay_end());
        if (shared < std::max(worthwhile, replay_end)) continue;
        if (other->length() < shared) {
            const auto place = std::ranges::lower_bound(other->snapshots, shared);
            if (place == other->snapshots.end() || *place != shared)
                other->snapshots.insert(place, shared);
            for (Work& work : works_)  // its part of this pass ends there at the latest
                if (work.sequence == other)
                    work.num_tokens = std::min(work.num_tokens, shared - other->length());
            return other;
        }
        const size_t prefix = std::min(shared, sequence.tokens.size() - 1);
        RestorePoint point = other->session->restore_point();
        if (Session::resumed_length(point, static_cast<int64_t>(prefix)) >=
            static_cast<int64_t>(worthwhile))
            cache_.insert(std::span(other->tokens).first(other->length()), std::move(point));
    }
    return nullptr;
}

// False: the memory is not there now.
bool EngineLoop::admit(Sequence& sequence) {
    const PrefixCache::Match match = cache_.lookup(sequence.tokens);
    if (!fits(sequence, match)) {
        blocked_ = &sequence;
        is_refused_ = true;
        return false;
    }
    blocked_ = nullptr;
    sequence.session.emplace(engine_.new_session());
    if (match.point != nullptr) {
        sequence.session->resume(*match.point,
                                 std::span(sequence.tokens).first(match.prefix_tokens));
        cache_.touch(match);
    }
    sequence.snapshots = snapshot_plan(sequence, match.prefix_tokens);
    sequence.phase = Sequence::Phase::kPrefill;
    std::erase(waiting_, &sequence);
    running_.push_back(&sequence);
    if (!sequence.request->admitted) report_admission(sequence, match);
    return true;
}

void EngineLoop::report_admission(Sequence& sequence, const PrefixCache::Match& match) {
    Request& request = *sequence.request;
    request.admitted = true;
    request.cache = {.prompt_tokens = sequence.tokens.size(),
                     .cached_tokens = match.prefix_tokens,
                     .replayed_tokens = match.prefix_tokens - match.resumed_tokens,
                     .matched_tokens = match.matched_tokens,
                     .diverged = match.diverged};
    stats_.prompt_tokens += request.cache.prompt_tokens;
    stats_.cached_tokens += request.cache.cached_tokens;
    emit(request, {.kind = TokenEvent::Kind::kAdmitted, .cache = request.cache});
}

// Lengths at which a sequence that begins at `begin` leaves restore points, ascending.
std::vector<size_t> EngineLoop::snapshot_plan(const Sequence& sequence, size_t begin) const {
    std::vector<size_t> plan;
    if (!options_.prefix_cache) return plan;
    const size_t end = sequence.request->asked.prompt.size();
    for (size_t boundary : sequence.request->asked.boundaries)
        if (boundary > begin && boundary < end) plan.push_back(boundary);
    if (plan.size() > kFirstBoundaries + kLastBoundaries)
        plan.erase(plan.begin() + kFirstBoundaries, plan.end() - kLastBoundaries);
    if (end > begin) {
        const size_t spacing =
            std::max(options_.snapshot_tokens, (end - begin) / kSpacedSnapshots + 1);
        for (size_t length = begin + spacing; length < end; length += spacing)
            plan.push_back(length);
        plan.push_back(end);
    }
    std::ranges::sort(plan);
    plan.erase(std::unique(plan.begin(), plan.end()), plan.end());
    return plan;
}

// ---- memory ------------------------------------------------------------------------------------

// Whether the pages for all of sequence's tokens can be had by evicting, with those that running
// ones are going to need left over.
bool EngineLoop::fits(const Sequence& sequence, const PrefixCache::Match& match) const {
    if (running_.empty()) return true;
    const PagePool& pool = engine_.pages();
    size_t needed = pages_of(sequence.tokens.size() + 1);
    for (const Sequence* other : running_) {
        const size_t held = other->session->kv().pages().size();
        needed += std::max(pages_of(other->tokens.size() + 1), held) - held + 1;
    }
    if (needed <= pool.pages_free()) return true;
    // What running ones hold stays; so does what the sequence would take up.
    std::vector<bool> is_held(pool.pages_max());
    size_t num_held = 0;
    const auto hold = [&](std::span<const PageRef> pages) {
        for (const PageRef& page : pages) {
            if (!is_held[page.page_idx()]) ++num_held;
            is_held[page.page_idx()] = true;
        }
    };
    for (const Sequence* other : running_) hold(other->session->kv().pages());
    if (match.point != nullptr) {
        const size_t shared = match.prefix_tokens / static_cast<size_t>(kPageTokens);
        hold(match.point->kv().pages().first(shared));
        needed -= shared;
    }
    return num_held + needed <= pool.pages_max();
}

// Frees the pages that the pass needs: first of what is only cached, then of guesses, then of the
// youngest sequence.
void EngineLoop::make_room() {
    while (true) {
        size_t needed = 0;
        for (const Work& work : works_)
            needed +=
                work.sequence->session->kv().pages_needed(static_cast<int64_t>(work.num_rows()));
        if (needed <= engine_.pages().pages_free()) return;
        if (cache_.evict_for_pages()) continue;
        bool had_guess = false;
        for (Work& work : works_) {
            had_guess = had_guess || work.guess;
            work.guess.reset();
        }
        if (had_guess) continue;
        if (running_.size() > 1)
            preempt(youngest_running());
        else
            fail_alone(youngest_running());
    }
}

// Nothing can run. If something waits, it is for those whose readers do not read: the youngest of
// them gives up its KV. False: nothing waits.
bool EngineLoop::make_way() {
    if (std::ranges::none_of(waiting_, [](auto* s) { return s->request->room > 0; })) return false;
    if (!running_.empty()) preempt(youngest_running());
    barred_.clear();
    is_refused_ = false;
    return true;
}

Sequence& EngineLoop::youngest_running() const {
    return **std::ranges::max_element(running_, [](auto* a, auto* b) { return is_older(*a, *b); });
}

// Takes sequence's KV from it. It runs again from its tokens when there is memory; not in this
// pass.
void EngineLoop::preempt(Sequence& sequence) {
    std::erase_if(works_, [&](const Work& work) { return work.sequence == &sequence; });
    sequence.session.reset();
    sequence.speculation.guess.reset();
    std::erase(running_, &sequence);
    ++stats_.preemptions;
    barred_.push_back(&sequence);
    wait_for_kv(sequence);
}

void EngineLoop::fail_alone(Sequence& sequence) {
    std::erase_if(works_, [&](const Work& work) { return work.sequence == &sequence; });
    const PagePool& pool = engine_.pages();
    finish(sequence, FinishReason::kFailed,
           make_error(ErrorCode::kExhausted,
                      "KV memory is full at {} tokens of this sequence alone: {} pages of {} bytes",
                      sequence.length(), pool.pages_max(), pool.page_bytes()));
    retired_.clear();
}

}  // namespace baleen
