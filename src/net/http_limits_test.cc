// Every limit with its status, and what happens when clients misbehave or the server ends.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <vector>

#include "net/http_client_fixture.h"
#include "net/http_server.h"

namespace baleen::net {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

void ok(Exchange& exchange) {
    exchange.respond(200, {}, "ok");
}

// A handler that streams until its client has gone, and the marks it leaves.
struct Endless {
    Gate begun, gone_called, write_failed, returned;
    std::atomic<bool> was_cancelled{false}, client_gone{false};
    std::string block = std::string(1'000, 'x');

    void operator()(Exchange& exchange) {
        exchange.on_gone([this] { gone_called.open(); });
        EXPECT_TRUE(exchange.begin(200, {}));
        begun.open();
        for (;;) {
            const Result<void> result = exchange.write(block);
            if (result) continue;
            was_cancelled = result.error().code == ErrorCode::kCancelled;
            client_gone = exchange.client_gone();
            EXPECT_FALSE(exchange.write("later"));
            break;
        }
        write_failed.open();
        exchange.end();
        returned.open();
    }
    void expect_gone() {
        EXPECT_TRUE(gone_called.wait());
        EXPECT_TRUE(returned.wait());
        EXPECT_TRUE(was_cancelled);
        EXPECT_TRUE(client_gone);
    }
};

// A handler that waits for its gate, as for a token.
struct Waiting {
    Gate entered, gone_called, release;
    void operator()(Exchange& exchange) {
        exchange.on_gone([this] {
            gone_called.open();
            release.open();
        });
        entered.open();
        EXPECT_TRUE(release.wait());
        exchange.respond(200, {}, "late");
    }
};

TEST(HttpLimits, EveryLimitHasItsStatusAndTheConnectionIsClosed) {
    const auto server = serve({.body_bytes_max = 1000, .header_bytes_max = 1000}, ok);
    const std::string start = "POST / HTTP/1.1\r\nHost: a\r\n";
    const std::string chunked = start + "Transfer-Encoding: chunked\r\n\r\n";
    const std::vector<std::pair<int, std::string>> cases = {
        {400, "\x16\x03\x01\x02"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {411, "POST / HTTP/1.0\r\n\r\n"},
        {413, start + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'x')},
        {413, start + "Content-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n"},
        {413, chunked + "3e8\r\n" + std::string(1000, 'x') + "\r\n1\r\nx\r\n0\r\n\r\n"},
        {414, "GET /" + std::string(1000, 'x') + " HTTP/1.1\r\n\r\n"},
        {417, start + "Expect: more\r\n\r\n"},
        {431, start + "X: " + std::string(1000, 'x') + "\r\n\r\n"},
        {431, chunked + "1;" + std::string(2000, 'x')},
        {501, start + "Transfer-Encoding: gzip\r\n\r\n"},
    };
    for (const auto& [status, request] : cases) {
        Client client(server->address());
        const Response response = client.exchange(request);
        EXPECT_EQ(response.status, status) << request;
        EXPECT_EQ(response.header("Connection"), "close");
        EXPECT_NE(response.body, "");
        EXPECT_TRUE(client.is_closed_by_server());
    }
    EXPECT_EQ(server->stats().bad_requests, cases.size());
    EXPECT_EQ(server->stats().requests, 0u);
    Client client(server->address());
    EXPECT_EQ(client.exchange(post(std::string(1000, 'x'))).status, 200);
}

TEST(HttpLimits, ARefusalReachesAClientThatStillSendsItsBody) {
    const auto server = serve({.body_bytes_max = 1000}, ok);
    Client client(server->address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n");
    client.send(std::string(8'000'000, 'x'));
    EXPECT_EQ(client.response().status, 413);
}

TEST(HttpLimits, TheApplicationWritesTheBodiesOfErrors) {
    const auto writer = [](int status, std::string_view message, std::string_view path) {
        return ErrorBody{"text/x-error", fmt::format("{} {} {}", status, path, message)};
    };
    const auto server =
        serve({.body_bytes_max = 10, .header_bytes_max = 1000, .error_writer = writer}, ok);
    const std::string host = " HTTP/1.1\r\nHost: a\r\n";
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"POST /a/b?c=d" + host + "Content-Length: 11\r\n\r\n", "413 /a/b the body exceeds"},
        {"POST /a" + host + "Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789x\r\n",
         "413 /a the body exceeds"},
        {"POST /a" + host + "X: " + std::string(1000, 'x') + "\r\n\r\n", "431 /a the header"},
        {"GET /" + std::string(1000, 'x') + host + "\r\n", "414  the request line"},
        {"\x16\x03\x01\x02", "400  malformed"},
        {"POST /a" + host + "Content-Length: 5\r\n\r\nabc", "400 /a the request ended early"},
    };
    for (const auto& [request, begin] : cases) {
        Client client(server->address());
        client.send(request);
        client.half_close();
        const Response response = client.response();
        EXPECT_EQ(response.header("Content-Type"), "text/x-error");
        EXPECT_TRUE(response.body.starts_with(begin)) << response.body;
    }
}

TEST(HttpLimits, SlowRequestsTimeOutWith408) {
    const auto server =
        serve({.header_timeout = milliseconds(50), .body_timeout = milliseconds(50)}, ok);
    Client header(server->address());
    EXPECT_EQ(header.exchange("GET / HTTP/1.1\r\n").status, 408);
    EXPECT_TRUE(header.is_closed_by_server());
    Client body(server->address());
    EXPECT_EQ(body.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx").status,
              408);
    EXPECT_TRUE(body.is_closed_by_server());
    EXPECT_EQ(server->stats().bad_requests, 2u);
}

TEST(HttpLimits, ATrickledHeaderTimesOutAllTheSame) {
    const auto server = serve({.header_timeout = milliseconds(200)}, ok);
    Client client(server->address());
    std::atomic<bool> done{false};
    std::thread sender([&] {
        client.send("GET / HTTP/1.1\r\nX: ");
        while (!done && client.send("x")) std::this_thread::sleep_for(milliseconds(5));
    });
    EXPECT_EQ(client.response().status, 408);
    done = true;
    sender.join();
}

TEST(HttpLimits, IdleConnectionsAreClosed) {
    const auto server = serve({.idle_timeout = milliseconds(50)}, ok);
    Client fresh(server->address());
    EXPECT_TRUE(fresh.is_closed_by_server());
    Client used(server->address());
    EXPECT_EQ(used.exchange(get("/")).status, 200);
    EXPECT_TRUE(used.is_closed_by_server());
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(HttpLimits, ARunningHandlerHasNoTimeLimit) {
    Gate entered;
    const auto server = serve({.header_timeout = milliseconds(20),
                               .body_timeout = milliseconds(20),
                               .idle_timeout = milliseconds(20),
                               .write_timeout = milliseconds(20)},
                              [&](Exchange& exchange) {
                                  std::this_thread::sleep_for(milliseconds(200));
                                  exchange.respond(200, {}, "slow");
                              });
    Client client(server->address());
    EXPECT_EQ(client.exchange(post("x")).body, "slow");
}

TEST(HttpLimits, MoreHandlersThanAllowedGetA503AndTheConnectionStays) {
    Waiting waiting[2];
    std::atomic<size_t> next{0};
    const auto server = serve({.active_max = 2}, [&](Exchange& exchange) {
        if (exchange.request().path == "/wait") return waiting[next++](exchange);
        ok(exchange);
    });
    Client first(server->address());
    Client second(server->address());
    first.send(get("/wait"));
    ASSERT_TRUE(waiting[0].entered.wait());
    second.send(get("/wait"));
    ASSERT_TRUE(waiting[1].entered.wait());
    EXPECT_EQ(server->stats().active, 2u);
    Client third(server->address());
    const Response refused = third.exchange(post("body"));
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(refused.header("Retry-After"), "1");
    EXPECT_EQ(refused.header("Connection"), "");
    EXPECT_EQ(server->stats().refused, 1u);
    for (Waiting& one : waiting) one.release.open();
    EXPECT_EQ(first.response().body, "late");
    EXPECT_EQ(second.response().body, "late");
    EXPECT_TRUE(eventually([&] { return server->stats().active == 0; }));
    EXPECT_EQ(third.exchange(post("body")).status, 200);
}

TEST(HttpLimits, OneActiveHandlerServesPipelinedRequestsWithoutRefusals) {
    const auto server = serve({.active_max = 1}, ok);
    Client client(server->address());
    std::string requests;
    for (int i = 0; i < 300; ++i) requests += get("/");
    client.send(requests);
    for (int i = 0; i < 300; ++i) ASSERT_EQ(client.response().status, 200) << i;
}

TEST(HttpLimits, MoreConnectionsThanAllowedGetA503AndAreClosed) {
    const auto server = serve({.connections_max = 3}, ok);
    std::vector<Client> clients;
    for (int i = 0; i < 3; ++i) {
        clients.emplace_back(server->address());
        EXPECT_EQ(clients.back().exchange(get("/")).status, 200);
    }
    Client fourth(server->address());
    const Response refused = fourth.response();  // without asking
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(refused.header("Retry-After"), "1");
    EXPECT_TRUE(fourth.is_closed_by_server());
    fourth.close();
    clients.pop_back();
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 2; }));
    EXPECT_EQ(Client(server->address()).exchange(get("/")).status, 200);
}

TEST(HttpLimits, BodiesOfAllRequestsTogetherAreBounded) {
    Waiting waiting;
    const auto server = serve({.bodies_bytes_max = 1'500'000}, [&](Exchange& exchange) {
        if (exchange.request().body.size() == 1'000'000) return waiting(exchange);
        ok(exchange);
    });
    Client first(server->address());
    first.send(post(std::string(1'000'000, 'x')));
    ASSERT_TRUE(waiting.entered.wait());
    EXPECT_EQ(Client(server->address()).exchange(post(std::string(900'000, 'x'))).status, 503);
    waiting.release.open();
    EXPECT_EQ(first.response().status, 200);
    EXPECT_TRUE(eventually([&] {
        return Client(server->address()).exchange(post(std::string(900'000, 'x'))).status == 200;
    }));
}

TEST(HttpGone, AClientThatClosesHalfClosesOrResets) {
    using Leave = void (*)(Client&);
    for (const Leave leave :
         {Leave([](Client& c) { c.close(); }), Leave([](Client& c) { c.half_close(); }),
          Leave([](Client& c) { c.reset(); })}) {
        Waiting waiting;
        Endless endless;
        const auto server = serve({}, [&](Exchange& exchange) {
            if (exchange.request().path == "/wait") return waiting(exchange);
            endless(exchange);
        });
        Client silent(server->address());
        silent.send(get("/wait"));
        ASSERT_TRUE(waiting.entered.wait());
        leave(silent);
        EXPECT_TRUE(waiting.gone_called.wait());
        Client streaming(server->address());
        streaming.send(get("/"));
        ASSERT_TRUE(endless.begun.wait());
        leave(streaming);
        endless.expect_gone();
        EXPECT_TRUE(eventually([&] { return server->stats().gone == 2; }));
        EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
    }
}

TEST(HttpGone, IsSeenBehindPipelinedBytesThatAreNotRead) {
    Waiting waiting;
    const auto server = serve({.header_bytes_max = 100}, std::ref(waiting));
    Client client(server->address());
    client.send(get("/"));
    ASSERT_TRUE(waiting.entered.wait());
    client.send(std::string(10'000, 'x'));
    client.close();
    EXPECT_TRUE(waiting.gone_called.wait());
}

TEST(HttpGone, IsToldAtOnceToAHandlerThatAsksLater) {
    Gate entered, told;
    const auto server = serve({}, [&](Exchange& exchange) {
        entered.open();
        EXPECT_TRUE(eventually([&] { return exchange.client_gone(); }));
        EXPECT_EQ(exchange.begin(200, {}).error().code, ErrorCode::kCancelled);
        int calls = 0;
        exchange.on_gone([&] { ++calls; });
        EXPECT_TRUE(eventually([&] { return calls == 1; }));
        told.open();
    });
    Client client(server->address());
    client.send(get("/"));
    ASSERT_TRUE(entered.wait());
    client.close();
    EXPECT_TRUE(told.wait());
}

TEST(HttpGone, AKilledProcessIsGone) {
    Endless endless;
    const auto server = serve({}, std::ref(endless));
    // The connection is made before the fork, so that the child only has to hold it.
    auto client = std::make_unique<Client>(server->address());
    client->send(get("/"));
    ASSERT_TRUE(endless.begun.wait());
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        pause();
        _exit(0);
    }
    client.reset();  // the child's copy keeps the connection
    EXPECT_FALSE(endless.gone_called.is_open());
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    endless.expect_gone();
}

TEST(HttpGone, ACallbackIsNotCalledAfterTheHandlerReturned) {
    std::atomic<int> calls{0};
    const auto server = serve({}, [&](Exchange& exchange) {
        exchange.on_gone([&] { ++calls; });
        ok(exchange);
    });
    {
        Client client(server->address());
        EXPECT_EQ(client.exchange(get("/")).status, 200);
        EXPECT_TRUE(eventually([&] { return server->stats().active == 0; }));
    }
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
    EXPECT_EQ(calls, 0);
}

TEST(HttpGone, ACallbackIsNotCalledAfterItWasTakenBack) {
    Gate entered, gone;
    std::atomic<int> calls{0};
    const auto server = serve({}, [&](Exchange& exchange) {
        exchange.on_gone([&] { ++calls; });
        exchange.on_gone(nullptr);
        entered.open();
        EXPECT_TRUE(eventually([&] { return exchange.client_gone(); }));
        exchange.on_gone(nullptr);
        gone.open();
    });
    Client client(server->address());
    client.send(get("/"));
    ASSERT_TRUE(entered.wait());
    client.close();
    EXPECT_TRUE(gone.wait());
    EXPECT_EQ(calls, 0);
}

TEST(HttpSlow, AClientThatReadsNothingIsGoneAfterTheWriteTimeout) {
    Endless endless;
    const auto server = serve({.write_timeout = milliseconds(100)}, std::ref(endless));
    Client client(server->address());
    client.send(get("/"));
    endless.expect_gone();
    EXPECT_EQ(server->stats().write_timeouts, 1u);
}

TEST(HttpSlow, AWholeAnswerThatIsNotReadIsCutToo) {
    const auto server = serve({.write_timeout = milliseconds(100)}, [](Exchange& exchange) {
        exchange.respond(200, {}, std::string(50'000'000, 'x'));
    });
    Client client(server->address());
    client.send(get("/"));
    EXPECT_TRUE(eventually([&] { return server->stats().write_timeouts == 1; }));
    EXPECT_LT(client.receive_all().size(), 50'000'000u);
}

TEST(HttpSlow, ASlowReaderGetsEveryByteAndTheBufferStaysBounded) {
    constexpr size_t kBlocks = 400;
    std::atomic<size_t> written{0};
    const auto server = serve({.write_buffer_bytes = 10'000}, [&](Exchange& exchange) {
        EXPECT_TRUE(exchange.begin(200, {}));
        for (size_t i = 0; i < kBlocks; ++i) {
            EXPECT_TRUE(exchange.write(std::string(50'000, static_cast<char>('a' + i % 26))));
            written = i + 1;
        }
        exchange.end();
    });
    Client client(server->address(), 4096);
    client.send(get("/"));
    // The writer comes to a stop far from the end: it is this client that holds it.
    size_t seen = 0;
    ASSERT_TRUE(eventually([&] {
        const size_t before = std::exchange(seen, written.load());
        std::this_thread::sleep_for(milliseconds(50));
        return seen > 0 && before == seen;
    }));
    EXPECT_LT(seen, kBlocks);
    const Response response = client.response();
    ASSERT_EQ(response.body.size(), kBlocks * 50'000);
    EXPECT_TRUE(response.whole);
    for (size_t i = 0; i < kBlocks; ++i)
        ASSERT_EQ(response.body[i * 50'000 + 49'999], static_cast<char>('a' + i % 26));
}

TEST(HttpShutdown, WaitsForARunningStreamAndLetsItFinish) {
    Gate begun, finish;
    auto server = serve({}, [&](Exchange& exchange) {
        EXPECT_TRUE(exchange.begin(200, {}));
        EXPECT_TRUE(exchange.write("first "));
        begun.open();
        EXPECT_TRUE(finish.wait());
        EXPECT_TRUE(exchange.write("last"));
        exchange.end();
    });
    Client client(server->address());
    client.send(get("/"));
    ASSERT_TRUE(begun.wait());
    Client idle(server->address());
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 2; }));
    std::atomic<size_t> num_cut{99};
    std::thread shutting([&] { num_cut = server->shutdown(Clock::now() + kPatience); });
    EXPECT_TRUE(idle.is_closed_by_server());
    EXPECT_EQ(num_cut, 99u);
    finish.open();
    const Response response = client.response();
    EXPECT_EQ(response.body, "first last");
    EXPECT_TRUE(response.whole);
    shutting.join();
    EXPECT_EQ(num_cut, 0u);
    EXPECT_EQ(server->stats().connections, 0u);
    EXPECT_EQ(server->shutdown(Clock::now()), 0u);
}

TEST(HttpShutdown, FurtherRequestsAreAnsweredWith503) {
    Waiting waiting;
    auto server = serve({}, std::ref(waiting));
    Client busy(server->address());
    busy.send(get("/"));
    ASSERT_TRUE(waiting.entered.wait());
    Client arriving(server->address());
    arriving.send(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    ASSERT_EQ(arriving.response().status, 100);
    std::thread shutting([&] { EXPECT_EQ(server->shutdown(Clock::now() + kPatience), 0u); });
    ASSERT_TRUE(eventually([&] { return Client(server->address()).is_closed_by_server(); }));
    const Response refused = arriving.exchange("body");
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(refused.header("Retry-After"), "1");
    waiting.release.open();
    const Response late = busy.response();
    EXPECT_EQ(late.body, "late");
    EXPECT_EQ(late.header("Connection"), "close");
    shutting.join();
}

TEST(HttpShutdown, CutsAStreamThatDoesNotFinish) {
    Endless endless;
    auto server = serve({}, std::ref(endless));
    Client client(server->address());
    client.send(get("/"));
    ASSERT_TRUE(endless.begun.wait());
    std::atomic<size_t> bytes{0};
    std::thread reader([&] { bytes = client.receive_all().size(); });
    EXPECT_EQ(server->shutdown(Clock::now() + milliseconds(100)), 1u);
    endless.expect_gone();
    reader.join();
    EXPECT_GT(bytes, 0u);
}

TEST(HttpShutdown, TheDestructorIsAShutdownWithoutGrace) {
    Waiting waiting;
    auto server = serve({}, std::ref(waiting));
    Client client(server->address());
    client.send(get("/"));
    ASSERT_TRUE(waiting.entered.wait());
    server.reset();
    EXPECT_TRUE(waiting.gone_called.is_open());
    EXPECT_TRUE(client.is_closed_by_server());
}

TEST(HttpShutdown, UnderLoadEndsAndAnswersWholeOrNotAtAll) {
    std::atomic<int> broken{0};
    auto server = serve({.io_threads = 2}, ok);
    const std::string address = server->address();
    std::vector<std::thread> clients;
    for (int c = 0; c < 8; ++c)
        clients.emplace_back([&] {
            for (;;) {
                Client client(address);
                const Response response = client.exchange(get("/"));
                if (response.status == 0) return;
                if (!response.whole) ++broken;
            }
        });
    EXPECT_TRUE(eventually([&] { return server->stats().requests > 100; }));
    EXPECT_EQ(server->shutdown(Clock::now() + kPatience), 0u);
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(broken, 0);
}

TEST(HttpRobust, ATruncatedRequestAtEveryByteDoesNoHarm) {
    std::atomic<int> handled{0};
    const auto server = serve({}, [&](Exchange& exchange) {
        ++handled;
        ok(exchange);
    });
    const std::string chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    for (const std::string& text : {post("body"), chunked})
        for (size_t bytes = 0; bytes < text.size(); ++bytes) {
            Client closing(server->address());
            closing.send(text.substr(0, bytes));
            closing.close();
            Client half_closing(server->address());
            half_closing.send(text.substr(0, bytes));
            half_closing.half_close();
            EXPECT_EQ(half_closing.response().status, bytes == 0 ? 0 : 400) << bytes;
        }
    EXPECT_EQ(handled, 0);
    EXPECT_EQ(Client(server->address()).exchange(post("body")).status, 200);
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(HttpRobust, AByteFlippedAnywhereDoesNoHarm) {
    const auto server = serve({}, ok);
    const std::string text = post("body", "Connection: close\r\nX-Some: header\r\n");
    for (size_t at = 0; at < text.size(); ++at)
        for (const int mask : {0x01, 0x20, 0x80, 0xff}) {
            std::string flipped = text;
            flipped[at] = static_cast<char>(flipped[at] ^ mask);
            Client client(server->address());
            client.send(flipped);
            client.half_close();
            client.receive_all();
        }
    EXPECT_EQ(Client(server->address()).exchange(post("body")).status, 200);
}

size_t num_threads() {
    size_t count = 0;
    DIR* const folder = opendir("/proc/self/task");
    while (const dirent* entry = readdir(folder)) count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

TEST(HttpLimits, AThousandIdleConnectionsCostNoThread) {
    const auto server = serve({}, ok);
    Client(server->address()).exchange(get("/"));
    const size_t before = num_threads();
    std::vector<Client> clients;
    for (int i = 0; i < 1'000; ++i) clients.emplace_back(server->address());
    ASSERT_TRUE(eventually([&] { return server->stats().connections == 1'000; }));
    EXPECT_LE(num_threads(), before);
    for (Client& client : clients) ASSERT_EQ(client.exchange(get("/")).status, 200);
    // One request after the other: a few handlers may still be returning when the next begins.
    EXPECT_LE(num_threads(), before + 10);
    EXPECT_EQ(server->stats().connections, 1'000u);
}

TEST(HttpLimits, AFloodOfConnectionsIsRefusedOrClosed) {
    const auto server = serve({.connections_max = 1}, ok);
    Client first(server->address());
    EXPECT_EQ(first.exchange(get("/")).status, 200);
    std::vector<Client> clients;
    for (int i = 0; i < 100; ++i) clients.emplace_back(server->address());
    for (Client& client : clients) {
        const int status = client.response().status;
        EXPECT_TRUE(status == 503 || status == 0) << status;
    }
    EXPECT_EQ(server->stats().refused, 100u);
    EXPECT_EQ(first.exchange(get("/")).status, 200);
}

TEST(HttpLimits, AcceptingGoesOnAfterTheSystemRanOutOfDescriptors) {
    const auto server = serve({}, ok);
    EXPECT_EQ(Client(server->address()).exchange(get("/")).status, 200);
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
    rlimit old = {};
    getrlimit(RLIMIT_NOFILE, &old);
    const int free = ::open("/dev/null", O_RDONLY);
    ASSERT_GE(free, 0);
    ::close(free);
    // One descriptor is left, for the client.
    rlimit low = {.rlim_cur = static_cast<rlim_t>(free) + 1, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    Client client(server->address());
    client.send(get("/"));
    std::this_thread::sleep_for(milliseconds(50));
    EXPECT_EQ(server->stats().accepted, 1u);
    setrlimit(RLIMIT_NOFILE, &old);
    EXPECT_EQ(client.response().status, 200);
}

TEST(HttpLimits, TheLimitOfOpenFilesIsRaised) {
    rlimit old = {};
    getrlimit(RLIMIT_NOFILE, &old);
    rlimit low = {.rlim_cur = 100, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    const auto server = serve({}, ok);
    rlimit now = {};
    getrlimit(RLIMIT_NOFILE, &now);
    EXPECT_EQ(now.rlim_cur, old.rlim_max);
    setrlimit(RLIMIT_NOFILE, &old);
}

}  // namespace
}  // namespace baleen::net
