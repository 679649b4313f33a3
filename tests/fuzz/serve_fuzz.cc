// Request bodies of the three chat APIs: whatever comes, a job that renders or one error line.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "serve/requests.h"

namespace {

using baleen::Prompt;
using baleen::Result;
using baleen::serve::Job;

void check(const Result<Job>& job) {
    if (!job) {
        CHECK(!job.error().message.empty());
        return;
    }
    CHECK_EQ(job->seals.size(), job->conversation.messages.size());
    const Result<Prompt> prompt = baleen::render(job->conversation);
    if (prompt) CHECK_EQ(prompt->message_ends.size(), job->conversation.messages.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto body = baleen::JsonText::parse({reinterpret_cast<const char*>(data), size});
    if (!body || !body->is_object()) return 0;
    baleen::serve::ServiceOptions options;
    options.context_tokens_max = 1 << 20;
    check(read_chat_request(*body, options));
    check(read_messages_request(*body, options));
    check(read_responses_request(*body, options));
    return 0;
}
