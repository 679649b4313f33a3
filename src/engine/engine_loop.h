// EngineLoop: what the engine thread does, one pass over the weights at a time. Which sequences run
// in a pass, what becomes of the tokens sampled, who gives way when memory is full. Private to
// engine/; one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/prefix_cache.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "tensor/buffer.h"

namespace baleen {

class EngineLoop {
  public:
    EngineLoop(Engine& engine, const SchedulerOptions& options);

    void add(std::unique_ptr<Request> request);

    // Ends what was cancelled, admits, and chooses the next pass. False: there is nothing to run
    // until a request comes or a reader reads.
    bool plan();
    // Runs the pass and samples. REQUIRES: plan() returned true.
    void run();
    // Hands out the events since the last call; apart from plan() and run() so that whoever reads
    // an event finds its effects in stats().
    void deliver();

    // Ends everything. Returns how many requests had not ended.
    size_t cancel_all();

    SchedulerStats stats() const;
    const PrefixCache& cache() const { return cache_; }
    size_t active() const { return requests_.size(); }  // requests that have not ended

  private:
    // A sequence's part of a pass: its next num_tokens tokens, and perhaps a guess after them.
    struct Work {
        Sequence* sequence = nullptr;
        size_t num_tokens = 0;
        std::optional<TokenId> guess;
        size_t num_rows() const { return num_tokens + (guess ? 1 : 0); }
    };

    // engine_loop.cc: admission and choice of the pass
    void end_cancelled();
    size_t plan_decodes();
    void plan_prefill(size_t rows);
    Sequence* pick_prefill(bool oldest) const;
    bool may_admit(const Sequence& sequence) const;
    Sequence* prefill_to_wait_for(const Sequence& sequence);
    bool admit(Sequence& sequence);
    void report_admission(Sequence& sequence, const PrefixCache::Match& match);
    bool fits(const Sequence& sequence, const PrefixCache::Match& match) const;
    std::vector<size_t> snapshot_plan(const Sequence& sequence, size_t begin) const;
    void wait_for_kv(Sequence& sequence);
    void make_room();
    bool make_way();
    Sequence& youngest_running() const;
    void preempt(Sequence& sequence);
    void fail_alone(Sequence& sequence);
    bool is_planned(const Sequence& sequence) const;

    // engine_pass.cc: the pass and its results
    void extend();
    void finish_work(const Work& work);
    void finish_prefill(Sequence& sequence);
    void fork(const Sequence& leader, Sequence& choice);
    void draw_all();
    void accept_all();
    void accept(const Draw& draw);
    void propose_drafts();
    bool constrain(Sequence& sequence);
    void keep_point(const Sequence& sequence);
    void finish(Sequence& sequence, FinishReason reason, Error error = {});
    void emit(const Request& request, TokenEvent event);
    void reap();

    Engine& engine_;
    const SchedulerOptions options_;
    const size_t rows_max_;
    PrefixCache cache_;
    std::vector<std::unique_ptr<Request>> requests_;  // that have not ended, in order of submission
    std::vector<Sequence*> waiting_;                  // for KV
    std::vector<Sequence*> running_;                  // hold KV
    std::vector<const Sequence*> deferred_;  // in this plan(): wait for what another one runs
    std::vector<const Sequence*> barred_;    // in this plan(): were preempted
    std::vector<Session> retired_;           // ended since the last reap()
    Sequence* blocked_ = nullptr;  // was refused for memory: no other is admitted before it
    bool is_refused_ = false;      // in this plan()
    size_t decode_turn_ = 0;       // who decodes first when not all fit into a pass
    size_t prefill_turn_ = 0;

    std::vector<Work> works_;                       // the pass
    std::vector<Draw> draws_;                       // of one round
    Buffer<float> draft_logits_;                    // [running_max, vocab_size]
    std::vector<std::vector<float>> draw_scratch_;  // per thread of the pool, [vocab_size]
    std::vector<std::pair<std::shared_ptr<EventQueue>, TokenEvent>> outbox_;
    SchedulerStats stats_;
};

}  // namespace baleen
