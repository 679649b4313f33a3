#include "agent/toolworld.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "agent/tool_conversation.h"

namespace baleen::agent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kProgressPause{200};

// Sessions waiting to be run and their results, shared by the threads that run them.
class SessionQueue {
  public:
    explicit SessionQueue(size_t num_sessions) : results_(num_sessions) {}

    // The next session to run; none: all are taken, or one has failed.
    std::optional<size_t> take() {
        const std::lock_guard lock(mutex_);
        if (error_ || next_ == results_.size()) return std::nullopt;
        ++running_;
        return next_++;
    }

    void finish(size_t session_idx, Result<std::vector<TaskResult>> result) {
        const std::lock_guard lock(mutex_);
        --running_;
        ++done_;
        if (result)
            results_[session_idx] = std::move(*result);
        else if (!error_)
            error_ = std::move(result).error();
        changed_.notify_all();
    }

    // Waits a while; false when nothing runs and nothing is left to run. done: sessions finished.
    bool wait(size_t& done) {
        std::unique_lock lock(mutex_);
        const auto is_over = [&] { return running_ == 0 && (error_ || next_ == results_.size()); };
        if (!is_over()) changed_.wait_for(lock, kProgressPause);
        done = done_;
        return !is_over();
    }

    Result<std::vector<TaskResult>> results() {
        const std::lock_guard lock(mutex_);
        if (error_) return *error_;
        std::vector<TaskResult> all;
        for (std::vector<TaskResult>& session : results_)
            std::ranges::move(session, std::back_inserter(all));
        return all;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    // Guarded by mutex_.
    std::vector<std::vector<TaskResult>> results_;
    std::optional<Error> error_;
    size_t next_ = 0, running_ = 0, done_ = 0;
};

void count(ToolworldReport& report) {
    for (const TaskResult& task : report.tasks) {
        report.solved.add(task.is_solved());
        if (task.needed_calls == 0) report.spurious.add(task.calls > 0);
        for (const ToolMessage& message : task.messages)
            report.well_formed.add(message.malformed.empty());
    }
}

}  // namespace

double ToolworldReport::tokens_per_forward() const {
    const uint64_t passes = stats.sampled_tokens - stats.drafts_accepted;
    return passes == 0 ? 0
                       : static_cast<double>(stats.sampled_tokens) / static_cast<double>(passes);
}

Result<ToolworldReport> evaluate_toolworld(Scheduler& scheduler, const Tokenizer& tokenizer,
                                           const ToolTaskSet& set, const ToolworldOptions& options,
                                           const EvalProgress& progress) {
    const auto begin = Clock::now();
    SessionQueue queue(set.sessions.size());
    std::stop_source stop;
    const auto work = [&] {
        while (const std::optional<size_t> session_idx = queue.take()) {
            ToolConversation conversation(scheduler, tokenizer, set, *session_idx, options);
            Result<std::vector<TaskResult>> result = conversation.run(stop.get_token());
            if (!result && result.error().code != ErrorCode::kCancelled)
                result = Error(result.error()).in(fmt::format("session {}", *session_idx));
            queue.finish(*session_idx, std::move(result));
        }
    };
    {
        std::vector<std::jthread> threads;
        for (size_t i = 0; i < std::min(options.parallel, set.sessions.size()); ++i)
            threads.emplace_back(work);
        size_t done = 0;
        while (queue.wait(done))
            if (!progress({.task = "conversations", .done = done, .total = set.sessions.size()}))
                stop.request_stop();
    }
    ToolworldReport report{.tasks = TRY(queue.results()), .stats = scheduler.stats()};
    report.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    count(report);
    return report;
}

}  // namespace baleen::agent
