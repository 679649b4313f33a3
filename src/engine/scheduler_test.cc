// The scheduler from outside: what a request gets does not depend on what else there is.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include "engine/scheduler_fixture.h"

namespace baleen {
namespace {

using namespace test;

std::vector<GenerateRequest> mixed_requests(size_t n) {
    std::vector<GenerateRequest> requests;
    for (size_t i = 0; i < n; ++i) {
        const size_t lengths[] = {7, 300, 129, 1, 64, 45, 128, 200};
        std::vector<TokenId> prompt = random_tokens(lengths[i % 8] + i / 8, 100 + i);
        requests.push_back(i % 2 == 0 ? greedy(std::move(prompt), 12)
                                      : seeded(std::move(prompt), 9, 40 + i));
    }
    return requests;
}

TEST(Scheduler, OneRequestGetsTheTokensOfAPlainSession) {
    Scheduler scheduler(make_engine(), {});
    for (const GenerateRequest& request : mixed_requests(4)) {
        TokenStream stream = scheduler.submit(copy(request)).value();
        const Reply reply = read_all(stream);
        EXPECT_EQ(reply.choices, plain_answers(request));
        EXPECT_EQ(reply.cache.prompt_tokens, request.prompt.size());
        EXPECT_EQ(reply.prefill_done.back(), request.prompt.size());
    }
}

TEST(Scheduler, TokensDoNotDependOnWhoElseRuns) {
    const std::vector<GenerateRequest> requests = mixed_requests(16);
    std::vector<std::vector<Answer>> expected;
    for (const GenerateRequest& request : requests) expected.push_back(plain_answers(request));
    for (size_t rows_max : {1u, 3u, 17u, 64u})
        for (size_t running_max : {1u, 5u, 16u}) {
            Scheduler scheduler(make_engine(engine_options(rows_max)),
                                {.running_max = running_max, .prefill_rows_busy = 5});
            std::vector<TokenStream> streams;
            for (const GenerateRequest& request : requests)
                streams.push_back(scheduler.submit(copy(request)).value());
            for (size_t i = 0; i < streams.size(); ++i)
                ASSERT_EQ(read_all(streams[i]).choices, expected[i])
                    << "request " << i << ", rows_max " << rows_max;
        }
}

}  // namespace
}  // namespace baleen
