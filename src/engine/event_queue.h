// The queue between the engine thread and the reader of one request (scheduler.h). Private to
// engine/.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "engine/scheduler.h"

namespace baleen {

// Wakes the engine thread when there may be something to do. Outlives the scheduler in streams.
class Doorbell {
  public:
    void ring();
    void wait();  // until it has rung since the last wait

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool rung_ = false;  // guarded by mutex_
};

class EventQueue {
  public:
    EventQueue(std::shared_ptr<Doorbell> doorbell, size_t num_choices, size_t events_max)
        : doorbell_(std::move(doorbell)), events_max_(events_max), choices_left_(num_choices) {}

    // ---- engine thread ----

    // Never blocks. A prefill event replaces one that has not been read yet.
    void push(TokenEvent event);
    size_t room() const;  // events until the reader counts as slow
    bool is_cancelled() const { return cancelled_.load(std::memory_order_acquire); }

    // ---- reader, any thread ----

    std::optional<TokenEvent> next(std::chrono::steady_clock::time_point deadline);
    bool ended() const;
    void cancel();

  private:
    const std::shared_ptr<Doorbell> doorbell_;
    const size_t events_max_;
    std::atomic<bool> cancelled_ = false;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<TokenEvent> events_;  // guarded by mutex_
    size_t choices_left_;            // guarded by mutex_: whose kEnd has not been read
};

}  // namespace baleen
