// Bytes on their way from a handler's thread to the network thread of its connection. Bounded: the
// handler waits while too many are unsent.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>

namespace baleen::net {

class Outbox {
  public:
    explicit Outbox(size_t unsent_bytes_max) : unsent_bytes_max_(unsent_bytes_max) {}

    // Any thread: queues the parts as one, without waiting. Small ones are put together.
    void put(std::initializer_list<std::string_view> parts);
    void put(std::string whole);
    // The handler's thread: waits until at most unsent_bytes_max are unsent; false when closed.
    bool wait_for_room();

    // The network thread: moves everything queued to the end of `into`.
    void take(std::deque<std::string>& into);
    // The network thread: so many of the bytes taken are in the kernel's hands.
    void sent(size_t bytes);
    // The network thread: nothing will be sent any more; wakes the handler.
    void close();

  private:
    const size_t unsent_bytes_max_;
    std::mutex mutex_;
    std::condition_variable room_;
    std::deque<std::string> queued_;
    size_t unsent_bytes_ = 0;  // queued, or taken and not yet sent
    bool closed_ = false;
};

}  // namespace baleen::net
