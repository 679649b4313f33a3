// Threads that run handlers: made when needed, used again, at most active_max of them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace baleen::net {

class HandlerPool {
  public:
    explicit HandlerPool(size_t active_max) : active_max_(active_max) {}
    ~HandlerPool() { join(); }

    // Runs `work` on a thread of the pool; then, when the work no longer counts as active, `after`.
    // False when active_max are active, or the system gives no thread. Any thread may call it.
    bool submit(std::function<void()> work, std::function<void()> after);

    size_t active() const;
    size_t threads() const;

    // Waits for all work to return, and ends the threads. REQUIRES: no submit() after it.
    void join();

  private:
    struct Task {
        std::function<void()> work, after;
    };

    bool add_thread();  // with mutex_ held
    void serve();

    const size_t active_max_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Task> tasks_;
    std::vector<std::thread> threads_;
    size_t active_ = 0;  // accepted, and work not returned
    bool joining_ = false;
};

}  // namespace baleen::net
