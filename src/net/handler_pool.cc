#include "net/handler_pool.h"

#include <system_error>
#include <utility>

namespace baleen::net {

bool HandlerPool::submit(std::function<void()> work, std::function<void()> after) {
    const std::lock_guard lock(mutex_);
    if (active_ >= active_max_) return false;
    // A thread whose work is not active waits for a task, or is about to.
    if (threads_.size() == active_ && !add_thread()) return false;
    ++active_;
    tasks_.push_back({std::move(work), std::move(after)});
    wake_.notify_one();
    return true;
}

// std::thread reports a lack of threads by throwing; it is the only such place.
bool HandlerPool::add_thread() {
    try {
        threads_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {
        return false;
    }
    return true;
}

void HandlerPool::serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return joining_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        Task task = std::move(tasks_.front());
        tasks_.pop_front();
        lock.unlock();
        task.work();
        lock.lock();
        --active_;
        lock.unlock();
        task.after();
        task = {};
        lock.lock();
    }
}

size_t HandlerPool::active() const {
    const std::lock_guard lock(mutex_);
    return active_;
}

size_t HandlerPool::threads() const {
    const std::lock_guard lock(mutex_);
    return threads_.size();
}

void HandlerPool::join() {
    std::vector<std::thread> threads;
    {
        const std::lock_guard lock(mutex_);
        joining_ = true;
        threads = std::move(threads_);
        threads_.clear();
        wake_.notify_all();
    }
    for (std::thread& thread : threads) thread.join();
}

}  // namespace baleen::net
