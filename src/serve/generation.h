// One answer from the model: a Job becomes a prompt and a request to the scheduler, its tokens go
// through the parser, and what comes out goes to the API's AnswerSink. Used by one handler thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/scheduler.h"
#include "serve/job.h"
#include "serve/service.h"
#include "text/completion_parser.h"

namespace baleen::serve {

enum class Finish : uint8_t { kStop, kStopSequence, kToolCalls, kLength, kCancelled };
std::string_view finish_name(Finish finish);  // "stop", "stop", "tool_calls", "length", "abort"

struct ContentToken {
    TokenId token = 0;
    double logprob = 0;
    std::vector<TokenLogprob> top;
};

struct Choice {
    ParsedMessage message;
    std::vector<std::string> call_ids;  // [message.tool_calls], and of calls never completed
    std::string seal;                   // signature or encrypted_content that brings `tokens` back
    Finish finish = Finish::kStop;
    std::string stop_sequence;           // with kStopSequence
    std::vector<TokenId> tokens;         // as sampled, stop token included
    size_t reasoning_tokens = 0;         // `</think>` included
    std::vector<ContentToken> logprobs;  // of the answer's tokens, where the job asks for them
};

struct Usage {
    size_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
};

struct Answer {
    std::vector<Choice> choices;
    Usage usage;
};

// What is known before the first token: the response's headers say it.
struct Opening {
    std::string id;  // of the request, unguessable
    size_t prompt_tokens = 0;
    std::string cache_note;  // "diverged at token 26163: client changed system block"
    std::vector<std::string> warnings;
    std::string prompt_text;  // with Job::echo_prompt
};

// How an API writes an answer while it comes. An error ends the generation: the client has gone.
class AnswerSink {
  public:
    virtual ~AnswerSink() = default;
    virtual Result<void> event(size_t choice, const ParserEvent& event, const Choice& so_far) = 0;
    virtual Result<void> choice_ended(size_t choice, const Choice& whole) = 0;
    // This much of the prompt stands in the KV cache.
    virtual Result<void> prefill(size_t done, size_t total) {
        (void)done, (void)total;
        return {};
    }
    // Nothing was written for Service::options.keep_alive.
    virtual Result<void> keep_alive() = 0;
};

class Generation {
  public:
    // kInvalidArgument: the job cannot be rendered, constrained, or has no room in the context;
    // kExhausted: the queue is full; kCancelled: shutting down.
    static Result<std::unique_ptr<Generation>> start(Service& service, Job job);
    ~Generation();
    Generation(const Generation&) = delete;
    Generation& operator=(const Generation&) = delete;

    // Waits for the cache decision, at most for a second: headers should leave at once.
    const Opening& opening();
    const Job& job() const { return job_; }
    // Prompt tokens found in the cache; 0 until the admission.
    size_t cached_tokens() const { return cache_.cached_tokens; }
    // From any thread, also after the generation.
    std::function<void()> canceller() const { return stream_.canceller(); }

    // Runs to the end. sink: null for an answer in one piece. kCancelled: the reader has gone or
    // time is up; other errors: the engine's.
    Result<Answer> run(AnswerSink* sink);

  private:
    struct Running;  // one choice
    Generation(Service& service, Job job, TokenStream stream);

    Result<void> handle(const TokenEvent& event, AnswerSink* sink);
    Result<void> take_token(size_t choice, const TokenEvent& event, AnswerSink* sink);
    Result<void> emit(size_t choice, AnswerSink* sink);
    Result<void> end_choice(size_t choice, FinishReason reason, AnswerSink* sink);
    void note_cache(const CacheReport& report);
    void remember(size_t choice);
    void count_calls(const Choice& choice);
    void log_end(const Answer& answer, std::string_view outcome);

    Service& service_;
    Job job_;
    TokenStream stream_;
    Opening opening_;
    bool admitted_ = false;
    std::optional<TokenEvent> early_end_;  // came instead of the admission
    CacheReport cache_;
    std::vector<size_t> message_ends_;
    size_t replayed_messages_ = 0;
    std::optional<size_t> scripted_turn_;
    std::vector<std::unique_ptr<Running>> choices_;
    std::vector<TokenId> stop_tokens_;
    std::chrono::steady_clock::time_point begun_, last_write_, last_token_;
    bool has_token_ = false;
};

// The tokens that never belong into an answer (spec section 13, "Stop").
std::vector<TokenId> stop_tokens(const Tokenizer& tokenizer);

}  // namespace baleen::serve
