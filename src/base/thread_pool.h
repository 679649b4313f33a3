// A fixed team of threads for parallel loops. The calling thread is one of the team.
// Owned by an Engine, a command or a test and passed down by reference; one loop at a time, from
// one thread.
// Which thread runs which item never affects results: items must not share accumulators.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace baleen {

class ThreadPool {
  public:
    // num_threads >= 1 includes the caller's. Worker i is left to the kernel's scheduler.
    explicit ThreadPool(size_t num_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    size_t num_threads() const { return workers_.size() + 1; }

    // Calls body(item, thread_idx) for every item in [0, num_items), each once, in any order, and
    // returns when all are done. thread_idx < num_threads() names a scratch slot no other running
    // item uses. Does not allocate. Not reentrant.
    template <typename Body>
    void parallel_for(size_t num_items, const Body& body) {
        if (num_items == 0) return;
        if (workers_.empty() || num_items == 1) {
            for (size_t i = 0; i < num_items; ++i) body(i, size_t{0});
            return;
        }
        run(num_items, &body, [](const void* b, size_t item, size_t thread_idx) {
            (*static_cast<const Body*>(b))(item, thread_idx);
        });
    }

  private:
    using Thunk = void (*)(const void* body, size_t item, size_t thread_idx);

    void run(size_t num_items, const void* body, Thunk thunk);
    void work(size_t thread_idx);
    void drain(size_t thread_idx);

    std::vector<std::jthread> workers_;
    // The loop in progress. Written by run() before generation_ is raised, read by workers after.
    const void* body_ = nullptr;
    Thunk thunk_ = nullptr;
    size_t num_items_ = 0;
    alignas(64) std::atomic<size_t> next_item_{0};
    alignas(64) std::atomic<uint32_t> generation_{0};
    alignas(64) std::atomic<uint32_t> running_{0};
    std::atomic<bool> stopping_{false};
};

// The number of processors this process may run on.
size_t available_processors();

}  // namespace baleen
