#include "engine/scheduler.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "engine/engine_loop.h"
#include "engine/event_queue.h"
#include "engine/sequence.h"

namespace baleen {
namespace {

constexpr int kTopLogprobsMax = 20;

Result<void> check_tokens(const char* name, std::span<const TokenId> tokens, int64_t vocab_size) {
    for (size_t i = 0; i < tokens.size(); ++i)
        if (tokens[i] < 0 || tokens[i] >= vocab_size)
            return make_error(ErrorCode::kInvalidArgument,
                              "{}[{}] is {}, which is outside the vocabulary, allowed 0 to {}",
                              name, i, tokens[i], vocab_size - 1);
    return {};
}

Result<void> check_prompt(const GenerateRequest& request, const Engine& engine) {
    const Config& config = engine.config();
    if (request.prompt.empty())
        return make_error(ErrorCode::kInvalidArgument, "the prompt is empty");
    TRY(check_tokens("prompt", request.prompt, config.vocab_size));
    const auto length = static_cast<int64_t>(request.prompt.size());
    if (length >= config.max_position_embeddings)
        return make_error(ErrorCode::kInvalidArgument,
                          "the prompt has {} tokens, which leaves no room for an answer: the "
                          "context has {}",
                          length, config.max_position_embeddings);
    const size_t pages = static_cast<size_t>((length + kPageTokens - 1) / kPageTokens);
    if (pages > engine.pages().pages_max())
        return make_error(ErrorCode::kInvalidArgument,
                          "the prompt has {} tokens, more than KV memory holds: {} pages of {} "
                          "tokens",
                          length, engine.pages().pages_max(), kPageTokens);
    if (!std::ranges::is_sorted(request.boundaries) ||
        (!request.boundaries.empty() && request.boundaries.back() > request.prompt.size()))
        return make_error(ErrorCode::kInvalidArgument,
                          "boundaries must ascend and lie within the prompt's {} tokens", length);
    return {};
}

Result<void> check_request(const GenerateRequest& request, const Engine& engine,
                           const SchedulerOptions& options) {
    TRY(check_prompt(request, engine));
    TRY(check_tokens("stop_tokens", request.stop_tokens, engine.config().vocab_size));
    TRY(request.sampling.validate());
    if (request.tokens_max < 1)
        return make_error(ErrorCode::kInvalidArgument, "tokens_max is {}, allowed are 1 and up",
                          request.tokens_max);
    if (request.num_choices < 1 || request.num_choices > options.running_max)
        return make_error(ErrorCode::kInvalidArgument, "num_choices is {}, allowed are 1 to {}",
                          request.num_choices, options.running_max);
    if (request.top_logprobs < -1 || request.top_logprobs > kTopLogprobsMax)
        return make_error(ErrorCode::kInvalidArgument,
                          "top_logprobs is {}, allowed are -1 (none) to {}", request.top_logprobs,
                          kTopLogprobsMax);
    if (!request.constraints.empty() && request.constraints.size() != request.num_choices)
        return make_error(ErrorCode::kInvalidArgument,
                          "{} constraints for {} choices, expected none or one for each",
                          request.constraints.size(), request.num_choices);
    return {};
}

}  // namespace

struct Scheduler::State {
    State(std::unique_ptr<Engine> e, const SchedulerOptions& o)
        : engine(std::move(e)), options(o), loop(*engine, o) {}

    void run();
    bool take_submitted();
    void publish();

    const std::unique_ptr<Engine> engine;
    const SchedulerOptions options;
    const std::shared_ptr<Doorbell> doorbell = std::make_shared<Doorbell>();
    EngineLoop loop;  // engine thread only

    std::mutex mutex;
    std::condition_variable ended;  // no request is active
    // Guarded by mutex:
    std::vector<std::unique_ptr<Request>> submitted;  // not yet taken by the engine thread
    SchedulerStats stats;                             // as of the engine thread's last pass
    uint64_t rejected = 0;
    uint64_t last_id = 0;
    size_t active = 0;  // requests submitted and not ended
    bool draining = false;
    bool stopping = false;
    size_t cancelled_by_shutdown = 0;

    std::mutex join_mutex;
    std::thread thread;  // guarded by join_mutex
};

Scheduler::Scheduler(std::unique_ptr<Engine> engine, const SchedulerOptions& options)
    : state_(std::make_unique<State>(std::move(engine), options)) {
    state_->publish();
    state_->thread = std::thread([state = state_.get()] { state->run(); });
}

Scheduler::~Scheduler() {
    shutdown(std::chrono::steady_clock::now());
}

Result<TokenStream> Scheduler::submit(GenerateRequest asked) {
    State& s = *state_;
    TRY(check_request(asked, *s.engine, s.options));
    auto request = std::make_unique<Request>();
    request->asked = std::move(asked);
    request->choices.resize(request->asked.num_choices);
    for (size_t i = 0; i < request->choices.size(); ++i) {
        Sequence& choice = request->choices[i];
        choice.request = request.get();
        choice.choice = i;
        if (!request->asked.constraints.empty())
            choice.constraint = std::move(request->asked.constraints[i]);
    }
    auto events = std::make_shared<EventQueue>(s.doorbell, request->choices.size(),
                                               std::max<size_t>(s.options.events_max, 1));
    request->events = events;
    {
        const std::lock_guard lock(s.mutex);
        if (s.draining) return make_error(ErrorCode::kCancelled, "shutting down");
        if (s.stats.queued + s.submitted.size() >= s.options.queue_max) {
            ++s.rejected;
            return make_error(ErrorCode::kExhausted, "the queue is full: {} requests wait",
                              s.options.queue_max);
        }
        request->id = ++s.last_id;
        ++s.active;
        s.submitted.push_back(std::move(request));
    }
    s.doorbell->ring();
    return TokenStream(std::move(events));
}

// The engine thread.
void Scheduler::State::run() {
    while (take_submitted()) {
        const bool has_work = loop.plan();
        publish();
        loop.deliver();
        if (!has_work) {
            doorbell->wait();
            continue;
        }
        loop.run();
        publish();
        loop.deliver();
    }
    const size_t cancelled = loop.cancel_all();
    publish();
    loop.deliver();
    const std::lock_guard lock(mutex);
    cancelled_by_shutdown = cancelled;
}

// False: to stop.
bool Scheduler::State::take_submitted() {
    const std::lock_guard lock(mutex);
    for (std::unique_ptr<Request>& request : submitted) loop.add(std::move(request));
    stats.queued += submitted.size();
    submitted.clear();
    return !stopping;
}

void Scheduler::State::publish() {
    const std::lock_guard lock(mutex);
    stats = loop.stats();
    active = loop.active() + submitted.size();
    if (active == 0) ended.notify_all();
}

size_t Scheduler::shutdown(std::chrono::steady_clock::time_point deadline) {
    State& s = *state_;
    {
        std::unique_lock lock(s.mutex);
        s.draining = true;
        s.ended.wait_until(lock, deadline, [&] { return s.active == 0; });
        s.stopping = true;
    }
    s.doorbell->ring();
    const std::lock_guard join_lock(s.join_mutex);
    if (s.thread.joinable()) s.thread.join();
    const std::lock_guard lock(s.mutex);
    return std::exchange(s.cancelled_by_shutdown, 0);
}

SchedulerStats Scheduler::stats() const {
    State& s = *state_;
    const std::lock_guard lock(s.mutex);
    SchedulerStats stats = s.stats;
    stats.queued += s.submitted.size();
    stats.requests += s.submitted.size();
    stats.rejected = s.rejected;
    return stats;
}

const Config& Scheduler::config() const {
    return state_->engine->config();
}

const SchedulerOptions& Scheduler::options() const {
    return state_->options;
}

}  // namespace baleen
