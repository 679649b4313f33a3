// What a client sees of a server in good times: answers, streams, framing, addresses. Limits and
// failures are in http_limits_test.cc.
#include "net/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "net/http_client_fixture.h"

namespace baleen::net {
namespace {

void echo(Exchange& exchange) {
    const Request& request = exchange.request();
    exchange.respond(200, {{"Content-Type", "text/plain"}},
                     request.method + " " + request.path + " " + request.body);
}

TEST(HttpServer, AnswersAndKeepsTheConnection) {
    const auto server = serve({}, echo);
    Client client(server->address());
    for (int i = 0; i < 3; ++i) {
        const Response response = client.exchange(post("body " + std::to_string(i)));
        EXPECT_EQ(response.status, 200);
        EXPECT_EQ(response.body, "POST / body " + std::to_string(i));
        EXPECT_EQ(response.header("Content-Type"), "text/plain");
        EXPECT_EQ(response.header("Connection"), "");
        EXPECT_NE(response.header("Date"), "");
    }
    EXPECT_EQ(server->stats().requests, 3u);
    EXPECT_EQ(server->stats().accepted, 1u);
    EXPECT_EQ(server->stats().connections, 1u);
}

TEST(HttpServer, PipelinedRequestsAreAnsweredInOrder) {
    const auto server = serve({}, echo);
    Client client(server->address());
    std::string requests;
    for (int i = 0; i < 200; ++i) requests += get(fmt::format("/{}", i)) + "\r\n";
    ASSERT_TRUE(client.send(requests));
    for (int i = 0; i < 200; ++i) EXPECT_EQ(client.response().body, fmt::format("GET /{} ", i));
}

TEST(HttpServer, MoreThanTheKeptBytesArePipelinedAllTheSame) {
    const auto server = serve({.header_bytes_max = 256}, echo);
    Client client(server->address());
    std::thread sender([&] {
        for (int i = 0; i < 30; ++i) client.send(post(std::string(50'000, 'x')));
    });
    for (int i = 0; i < 30; ++i) EXPECT_EQ(client.response().body.size(), 50'007u);
    sender.join();
}

TEST(HttpServer, ClosesWhenTheClientAsks) {
    const auto server = serve({}, echo);
    Client client(server->address());
    const Response response = client.exchange(get("/", "Connection: close\r\n"));
    EXPECT_EQ(response.header("Connection"), "close");
    EXPECT_TRUE(client.is_closed_by_server());
}

TEST(HttpServer, Http10) {
    const auto server = serve({}, echo);
    Client closing(server->address());
    EXPECT_EQ(closing.exchange("GET /a HTTP/1.0\r\n\r\n").body, "GET /a ");
    EXPECT_TRUE(closing.is_closed_by_server());
    Client keeping(server->address());
    for (int i = 0; i < 2; ++i) {
        const Response response =
            keeping.exchange("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        EXPECT_EQ(response.body, "GET /a ");
        EXPECT_EQ(response.header("Connection"), "keep-alive");
    }
}

TEST(HttpServer, AStreamOfHttp10EndsWithTheConnectionAndABrokenOneWithAReset) {
    const auto server = serve({}, [](Exchange& exchange) {
        EXPECT_TRUE(exchange.begin(200, {}));
        EXPECT_TRUE(exchange.write("text"));
        if (exchange.request().path == "/whole") exchange.end();
    });
    Client whole(server->address());
    whole.send("GET /whole HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const Response response = whole.response();
    EXPECT_EQ(response.header("Transfer-Encoding"), "");
    EXPECT_EQ(response.header("Connection"), "close");
    EXPECT_EQ(response.body, "text");
    EXPECT_FALSE(whole.was_reset());
    Client broken(server->address());
    broken.send("GET /broken HTTP/1.0\r\n\r\n");
    broken.receive_all();
    EXPECT_TRUE(broken.was_reset());
}

TEST(HttpServer, HeadHasNoBody) {
    const auto server = serve({}, [](Exchange& exchange) {
        if (exchange.request().path == "/stream") {
            EXPECT_TRUE(exchange.begin(200, {}));
            EXPECT_TRUE(exchange.write("text"));
            exchange.end();
        } else {
            exchange.respond(200, {}, "twelve bytes");
        }
    });
    Client client(server->address());
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(client.response(true).header("Content-Length"), "12");
    client.send("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(client.response(true).header("Transfer-Encoding"), "chunked");
    EXPECT_EQ(client.exchange(get("/")).body, "twelve bytes");
}

TEST(HttpServer, StatusesWithoutABody) {
    const auto server = serve({}, [](Exchange& exchange) {
        const int status = exchange.request().path == "/204" ? 204 : 304;
        if (exchange.request().query.empty()) return exchange.respond(status, {}, "dropped");
        EXPECT_TRUE(exchange.begin(status, {}));
        EXPECT_TRUE(exchange.write("dropped"));
        exchange.end();
    });
    Client client(server->address());
    for (const char* target : {"/204", "/304", "/204?stream", "/304?stream", "/204"}) {
        const Response response = client.exchange(get(target));
        EXPECT_EQ(response.status, std::atoi(target + 1));
        EXPECT_EQ(response.header("Content-Length"), "");
        EXPECT_EQ(response.header("Transfer-Encoding"), "");
    }
}

TEST(HttpServer, EachWriteArrivesBeforeTheNextOne) {
    Gate gates[3];
    const auto server = serve({}, [&](Exchange& exchange) {
        EXPECT_FALSE(exchange.has_begun());
        EXPECT_TRUE(exchange.begin(200, {}));
        EXPECT_TRUE(exchange.has_begun());
        for (Gate& gate : gates) {
            EXPECT_TRUE(gate.wait());
            EXPECT_TRUE(exchange.write("chunk"));
            EXPECT_TRUE(exchange.write(""));  // is not the end
        }
        exchange.end();
    });
    Client client(server->address());
    client.send(get("/"));
    EXPECT_NE(client.receive().find("Transfer-Encoding: chunked"), std::string::npos);
    for (Gate& gate : gates) {
        gate.open();
        std::string bytes;
        while (bytes.size() < 10) bytes += client.receive(10 - bytes.size());
        EXPECT_EQ(bytes, "5\r\nchunk\r\n");
    }
    std::string bytes;
    while (bytes.size() < 5) bytes += client.receive();
    EXPECT_EQ(bytes, "0\r\n\r\n");
    EXPECT_EQ(server->stats().connections, 1u);
}

TEST(HttpServer, AStreamWithoutEndIsCutAndOneWithEndKeepsTheConnection) {
    const auto server = serve({}, [](Exchange& exchange) {
        EXPECT_TRUE(exchange.begin(200, {}));
        EXPECT_TRUE(exchange.write("text"));
        if (exchange.request().path == "/whole") exchange.end();
    });
    Client client(server->address());
    const Response whole = client.exchange(get("/whole"));
    EXPECT_EQ(whole.body, "text");
    EXPECT_TRUE(whole.whole);
    const Response broken = client.exchange(get("/broken"));
    EXPECT_EQ(broken.body, "text");
    EXPECT_FALSE(broken.whole);
    EXPECT_TRUE(client.is_closed_by_server());
}

TEST(HttpServer, AHandlerWithoutAnAnswerGivesA500) {
    const auto server = serve({}, [](Exchange&) {});
    Client client(server->address());
    EXPECT_EQ(client.exchange(get("/")).status, 500);
    EXPECT_EQ(client.exchange(get("/")).status, 500);
}

TEST(HttpServer, HeadersOfAnswersCannotBeInjected) {
    const auto server = serve({}, [](Exchange& exchange) {
        exchange.respond(200, {{"X-Echo", exchange.request().query.at(0).second}}, "");
    });
    Client client(server->address());
    const Response response =
        client.exchange(get("/?a=1%0d%0aX-Forged:+1%0a%0d%0a%0d%0a<html>%7f"));
    EXPECT_EQ(response.header("X-Forged"), "");
    EXPECT_EQ(response.header("X-Echo"), "1  X-Forged: 1     <html> ");
    EXPECT_EQ(client.exchange(get("/?a=b")).header("X-Echo"), "b");
}

TEST(HttpServerDeath, AHandlerMaySetOnlyItsOwnHeaders) {
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    const auto answer_with = [](const std::string& name) {
        const auto server = serve({}, [&](Exchange& e) { e.respond(200, {{name, "1"}}, ""); });
        Client(server->address()).exchange(get("/"));
    };
    EXPECT_DEATH(answer_with("content-Length"), "header");
    EXPECT_DEATH(answer_with("X: 1\r\nY"), "header");
}

TEST(HttpServer, BodiesInEveryForm) {
    const auto server = serve({}, echo);
    const std::string big(3'000'000, 'b');
    Client client(server->address());
    EXPECT_EQ(client.exchange(post(big)).body, "POST / " + big);
    std::string chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (size_t at = 0; at < big.size(); at += 100'000)
        chunked += "186A0;x=y\r\n" + big.substr(at, 100'000) + "\r\n";
    EXPECT_EQ(client.exchange(chunked + "0\r\nTrailer: 1\r\n\r\n").body, "POST / " + big);
    EXPECT_EQ(client.exchange(post("")).body, "POST / ");
    EXPECT_EQ(client.exchange("POST / HTTP/1.1\r\nHost: a\r\n\r\n").body, "POST / ");
}

TEST(HttpServer, ABodyThatWaitsForContinueIsAskedFor) {
    const auto server = serve({}, echo);
    Client client(server->address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    EXPECT_EQ(client.response().status, 100);
    EXPECT_EQ(client.exchange("body").body, "POST / body");
    // One that does not wait gets no 100.
    EXPECT_EQ(client.exchange(post("body", "Expect: 100-continue\r\n")).body, "POST / body");
}

TEST(HttpServer, AHundredMegabytesFlow) {
    const std::string block(1'000'000, 'x');
    const auto server = serve({}, [&](Exchange& exchange) {
        if (exchange.request().path == "/whole")
            return exchange.respond(200, {}, std::string(100'000'000, 'x'));
        EXPECT_TRUE(exchange.begin(200, {}));
        for (int i = 0; i < 100; ++i) EXPECT_TRUE(exchange.write(block));
        exchange.end();
    });
    for (const char* path : {"/whole", "/stream"}) {
        Client client(server->address());
        const Response response = client.exchange(get(path));
        EXPECT_EQ(response.body.size(), 100'000'000u);
        EXPECT_TRUE(response.whole);
        EXPECT_EQ(response.body.find_first_not_of('x'), std::string::npos);
    }
}

TEST(HttpServer, Addresses) {
    const auto peer = [](Exchange& exchange) {
        exchange.respond(200, {}, exchange.request().peer);
    };
    for (const auto& [host, prefix] : {std::pair{"127.0.0.1", "127.0.0.1:"},
                                       {"localhost", "127.0.0.1:"},
                                       {"0.0.0.0", "0.0.0.0:"}}) {
        const auto server = serve({.host = host}, peer);
        EXPECT_TRUE(server->address().starts_with(prefix)) << server->address();
        EXPECT_TRUE(Client(server->address()).exchange(get("/")).body.starts_with("127.0.0.1:"));
    }
    const auto bad = Server::listen({.host = "no.such.host.invalid"}, peer);
    EXPECT_EQ(bad.error().code, ErrorCode::kIo);
    EXPECT_NE(bad.error().message.find("no.such.host.invalid"), std::string::npos);
    EXPECT_EQ(Server::listen({.host = ""}, peer).error().code, ErrorCode::kInvalidArgument);
}

TEST(HttpServer, AddressesOfIpv6) {
    const auto peer = [](Exchange& exchange) {
        exchange.respond(200, {}, exchange.request().peer);
    };
    for (const char* host : {"::1", "[::1]"}) {
        const auto server = Server::listen({.host = host}, peer);
        if (!server) GTEST_SKIP() << "this machine has no IPv6: " << server.error().message;
        EXPECT_TRUE((*server)->address().starts_with("[::1]:"));
        EXPECT_TRUE(Client((*server)->address()).exchange(get("/")).body.starts_with("[::1]:"));
    }
}

TEST(HttpServer, APortInUseIsAnErrorThatNamesIt) {
    const auto server = serve({}, echo);
    const std::string address = server->address();
    const auto port = static_cast<uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1));
    const auto second = Server::listen({.port = port}, echo);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kIo);
    EXPECT_NE(second.error().message.find(address), std::string::npos) << second.error().message;
}

// A fresh folder, removed with what is in it.
struct Folder {
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "net_test_XXXXXX").string();
        CHECK(mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::filesystem::path path;
};

TEST(HttpServer, UnixSocket) {
    const Folder folder;
    const std::string path = (folder.path / "socket").string();
    {
        const auto server = serve({.host = "unix:" + path}, echo);
        EXPECT_EQ(server->address(), "unix:" + path);
        Client client(server->address());
        EXPECT_EQ(client.exchange(post("x")).body, "POST / x");
        EXPECT_EQ(client.exchange(post("y")).body, "POST / y");
        // Somebody listens: the file stays.
        EXPECT_EQ(Server::listen({.host = "unix:" + path}, echo).error().code, ErrorCode::kIo);
        EXPECT_EQ(client.exchange(post("z")).body, "POST / z");
    }
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(HttpServer, AStaleUnixSocketIsReplacedAndAnotherFileIsNot) {
    const Folder folder;
    const std::string path = (folder.path / "socket").string();
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
    ASSERT_TRUE(std::filesystem::exists(path));
    {
        const auto server = serve({.host = "unix:" + path}, echo);
        EXPECT_EQ(Client(server->address()).exchange(get("/")).status, 200);
    }
    std::ofstream(path) << "precious";
    const auto refused = Server::listen({.host = "unix:" + path}, echo);
    EXPECT_EQ(refused.error().code, ErrorCode::kIo);
    EXPECT_TRUE(std::filesystem::is_regular_file(path));
    const auto too_long = Server::listen({.host = "unix:/" + std::string(200, 'x')}, echo);
    EXPECT_EQ(too_long.error().code, ErrorCode::kInvalidArgument);
}

TEST(HttpServer, ASocketFileOfAnotherServerIsNotRemoved) {
    const Folder folder;
    const std::string path = (folder.path / "socket").string();
    auto first = serve({.host = "unix:" + path}, echo);
    std::filesystem::remove(path);
    const auto second = serve({.host = "unix:" + path}, echo);
    first.reset();
    EXPECT_EQ(Client(second->address()).exchange(get("/")).status, 200);
}

TEST(HttpServer, ManyClientsAtOnce) {
    std::atomic<int> answered{0};
    const auto server = serve({.io_threads = 3}, echo);
    std::vector<std::thread> clients;
    for (int c = 0; c < 16; ++c)
        clients.emplace_back([&, c] {
            Client client(server->address());
            for (int i = 0; i < 50; ++i) {
                const std::string text = std::to_string(c * 1000 + i);
                if (client.exchange(post(text)).body == "POST / " + text) ++answered;
            }
        });
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(answered, 16 * 50);
    EXPECT_EQ(server->stats().requests, 16u * 50u);
}

}  // namespace
}  // namespace baleen::net
