// Tells a handler, once, that its client has gone.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <utility>

namespace baleen::net {

class GoneSignal {
  public:
    // The network thread.
    void raise() {
        raised_.store(true);
        const std::lock_guard lock(mutex_);
        if (callback_) std::exchange(callback_, nullptr)();
    }

    bool is_raised() const { return raised_.load(); }

    // The handler's thread: the callback is called by raise(), or now if that was before.
    void watch(std::function<void()> callback) {
        {
            const std::lock_guard lock(mutex_);
            if (!raised_.load()) {
                callback_ = std::move(callback);
                return;
            }
        }
        callback();
    }

    // The handler's thread: no call begins after this, and one that runs has ended.
    void forget() {
        const std::lock_guard lock(mutex_);
        callback_ = nullptr;
    }

  private:
    std::atomic<bool> raised_{false};
    std::mutex mutex_;  // held while the callback runs, so that forget() waits for its end
    std::function<void()> callback_;
};

}  // namespace baleen::net
