#include "engine/event_queue.h"

namespace baleen {

void Doorbell::ring() {
    {
        const std::lock_guard lock(mutex_);
        rung_ = true;
    }
    changed_.notify_one();
}

void Doorbell::wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return rung_; });
    rung_ = false;
}

void EventQueue::push(TokenEvent event) {
    {
        const std::lock_guard lock(mutex_);
        if (event.kind == TokenEvent::Kind::kPrefill && !events_.empty() &&
            events_.back().kind == TokenEvent::Kind::kPrefill)
            events_.pop_back();
        events_.push_back(std::move(event));
    }
    changed_.notify_one();
}

size_t EventQueue::room() const {
    const std::lock_guard lock(mutex_);
    return events_max_ - std::min(events_max_, events_.size());
}

std::optional<TokenEvent> EventQueue::next(std::chrono::steady_clock::time_point deadline) {
    std::optional<TokenEvent> event;
    bool was_full = false;
    {
        std::unique_lock lock(mutex_);
        changed_.wait_until(lock, deadline,
                            [this] { return !events_.empty() || choices_left_ == 0; });
        if (events_.empty()) return std::nullopt;
        was_full = events_.size() >= events_max_;
        event = std::move(events_.front());
        events_.pop_front();
        if (event->kind == TokenEvent::Kind::kEnd) --choices_left_;
    }
    if (was_full) doorbell_->ring();
    return event;
}

bool EventQueue::ended() const {
    const std::lock_guard lock(mutex_);
    return choices_left_ == 0;
}

void EventQueue::cancel() {
    cancelled_.store(true, std::memory_order_release);
    doorbell_->ring();
}

// ---- TokenStream -------------------------------------------------------------------------------

TokenStream::TokenStream(std::shared_ptr<EventQueue> events) : events_(std::move(events)) {}

TokenStream::TokenStream(TokenStream&&) noexcept = default;

TokenStream& TokenStream::operator=(TokenStream&& other) noexcept {
    if (this != &other) {
        if (events_ != nullptr) events_->cancel();
        events_ = std::move(other.events_);
    }
    return *this;
}

TokenStream::~TokenStream() {
    if (events_ != nullptr) events_->cancel();
}

std::optional<TokenEvent> TokenStream::next(std::chrono::steady_clock::time_point deadline) {
    return events_->next(deadline);
}

bool TokenStream::ended() const {
    return events_->ended();
}

void TokenStream::cancel() {
    events_->cancel();
}

std::function<void()> TokenStream::canceller() const {
    return [events = events_] { events->cancel(); };
}

}  // namespace baleen
