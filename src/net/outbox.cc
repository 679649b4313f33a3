#include "net/outbox.h"

#include <iterator>
#include <utility>

#include "base/check.h"

namespace baleen::net {
namespace {

// Queued strings shorter than this grow; longer ones get a successor.
constexpr size_t kPieceBytes = size_t{64} << 10;

}  // namespace

void Outbox::put(std::initializer_list<std::string_view> parts) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    if (queued_.empty() || queued_.back().size() >= kPieceBytes) queued_.emplace_back();
    for (const std::string_view part : parts) {
        queued_.back() += part;
        unsent_bytes_ += part.size();
    }
}

void Outbox::put(std::string whole) {
    const std::lock_guard lock(mutex_);
    if (closed_ || whole.empty()) return;
    unsent_bytes_ += whole.size();
    queued_.push_back(std::move(whole));
}

bool Outbox::wait_for_room() {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || unsent_bytes_ <= unsent_bytes_max_; });
    return !closed_;
}

void Outbox::take(std::deque<std::string>& into) {
    const std::lock_guard lock(mutex_);
    into.insert(into.end(), std::make_move_iterator(queued_.begin()),
                std::make_move_iterator(queued_.end()));
    queued_.clear();
}

void Outbox::sent(size_t bytes) {
    const std::lock_guard lock(mutex_);
    CHECK_LE(bytes, unsent_bytes_);
    unsent_bytes_ -= bytes;
    if (unsent_bytes_ <= unsent_bytes_max_) room_.notify_one();
}

void Outbox::close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    unsent_bytes_ = 0;
    queued_.clear();
    room_.notify_all();
}

}  // namespace baleen::net
