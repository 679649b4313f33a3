// An EngineLoop without its thread: tests step it and count.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine_loop.h"
#include "engine/scheduler_fixture.h"

namespace baleen::test {

// A request and what its reader has read so far.
struct Client {
    std::shared_ptr<EventQueue> events;
    Reply reply;

    void read() {
        while (const auto event = events->next(std::chrono::steady_clock::time_point::min()))
            add_event(reply, *event);
    }
    size_t num_tokens() {
        read();
        size_t tokens = 0;
        for (const Answer& answer : reply.choices) tokens += answer.tokens.size();
        return tokens;
    }
    bool ended() {
        read();
        return events->ended();
    }
};

inline EngineOptions loop_options(bool mtp = false) {
    EngineOptions engine_options;
    engine_options.num_threads = 1;
    engine_options.model.rows_max = 64;
    engine_options.mtp = mtp;
    return engine_options;
}

struct Rig {
    explicit Rig(const SchedulerOptions& o = {}, EngineOptions engine_options = loop_options())
        : options(o), engine(small_weights(), engine_options), loop(engine, o) {}

    std::shared_ptr<Client> submit(GenerateRequest asked) {
        std::unique_ptr<Request> request =
            make_request(std::move(asked), doorbell, options.events_max);
        request->id = ++last_id;
        auto client = std::make_shared<Client>();
        client->events = request->events;
        loop.add(std::move(request));
        return client;
    }

    // One pass. False: nothing could run.
    bool step() {
        const bool has_work = loop.plan();
        loop.deliver();
        if (has_work) loop.run();
        loop.deliver();
        return has_work;
    }
    void run() {
        while (step()) {
        }
    }
    Reply finish(const std::shared_ptr<Client>& client) {
        while (!client->ended() && step()) {
        }
        EXPECT_TRUE(client->ended());
        return client->reply;
    }
    // Nothing but the cache holds memory.
    void expect_idle() const {
        EXPECT_EQ(loop.active(), 0u);
        EXPECT_EQ(loop.stats().running, 0u);
        EXPECT_EQ(engine.pages().pages_in_use(), loop.cache().pages_held());
    }

    SchedulerOptions options;
    Engine engine;
    std::shared_ptr<Doorbell> doorbell = std::make_shared<Doorbell>();
    EngineLoop loop;
    uint64_t last_id = 0;
};

inline std::vector<TokenId> join(std::vector<TokenId> a, const std::vector<TokenId>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

}  // namespace baleen::test
