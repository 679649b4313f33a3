#include "base/thread_pool.h"

#include <sched.h>

#include "base/check.h"

namespace baleen {
namespace {

// Spins this often before sleeping: a barrier inside a decode step is some microseconds away, the
// next request may be hours away.
constexpr int kSpins = 4000;

inline void pause_cpu() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(size_t num_threads) {
    CHECK_GE(num_threads, 1u);
    workers_.reserve(num_threads - 1);
    for (size_t i = 1; i < num_threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
    stopping_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
}

void ThreadPool::drain(size_t thread_idx) {
    for (;;) {
        const size_t item = next_item_.fetch_add(1, std::memory_order_relaxed);
        if (item >= num_items_) return;
        thunk_(body_, item, thread_idx);
    }
}

void ThreadPool::run(size_t num_items, const void* body, Thunk thunk) {
    body_ = body;
    thunk_ = thunk;
    num_items_ = num_items;
    next_item_.store(0, std::memory_order_relaxed);
    running_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    drain(0);
    // Every worker must have left drain() before body_ dies and the next loop resets next_item_.
    int spins = 0;
    for (uint32_t left; (left = running_.load(std::memory_order_acquire)) != 0;) {
        if (++spins < kSpins)
            pause_cpu();
        else
            running_.wait(left, std::memory_order_acquire);
    }
}

void ThreadPool::work(size_t thread_idx) {
    uint32_t seen = 0;
    for (;;) {
        int spins = 0;
        while (generation_.load(std::memory_order_acquire) == seen) {
            if (++spins < kSpins)
                pause_cpu();
            else
                generation_.wait(seen, std::memory_order_acquire);
        }
        ++seen;
        if (stopping_.load()) return;
        drain(thread_idx);
        if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
    }
}

size_t available_processors() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int count = CPU_COUNT(&set);
    return count > 0 ? static_cast<size_t>(count) : 1;
}

}  // namespace baleen
