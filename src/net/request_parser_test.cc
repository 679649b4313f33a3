#include "net/request_parser.h"

#include <gtest/gtest.h>

#include "net/request_target.h"

namespace baleen::net {
namespace {

using State = RequestParser::State;

struct Parsed {
    State state = State::kHeader;
    int status = 0;  // of a refusal
    Request request;
    std::string rest;
};

// Feeds `step` bytes at a time, as a connection does: what is left over comes again with more.
Parsed parse(std::string_view text, size_t step = std::string_view::npos,
             const ParserLimits& limits = {}) {
    RequestParser parser(limits);
    std::string waiting;
    while (!text.empty()) {
        waiting += text.substr(0, step);
        text.remove_prefix(std::min(step, text.size()));
        waiting.erase(0, parser.feed(waiting));
        if (parser.state() == State::kDone || parser.state() == State::kFailed) break;
    }
    Parsed result;
    result.state = parser.state();
    result.rest = waiting + std::string(text);
    if (result.state == State::kFailed) result.status = parser.refusal().status;
    if (result.state == State::kDone) result.request = parser.take();
    return result;
}

const std::string kPost =
    "POST /v1/%63hat?a=1&b=x+y%26&c HTTP/1.1\r\nHost: localhost:8080\r\nX-Thing:  two words \r\n"
    "content-LENGTH: 11\r\n\r\nhello world";
const std::string kChunked =
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
    "5\r\nhello\r\n1;ext=\"1\"\r\n \r\n5\r\nworld\r\n0\r\nX-Thing: forged\r\n\r\n";

TEST(RequestParser, PartsOfARequest) {
    const Parsed parsed = parse(kPost);
    ASSERT_EQ(parsed.state, State::kDone);
    EXPECT_EQ(parsed.request.method, "POST");
    EXPECT_EQ(parsed.request.path, "/v1/chat");
    const std::vector<std::pair<std::string, std::string>> query = {
        {"a", "1"}, {"b", "x y&"}, {"c", ""}};
    EXPECT_EQ(parsed.request.query, query);
    EXPECT_EQ(parsed.request.header("x-thing"), "two words");
    EXPECT_EQ(parsed.request.header("content-length"), "11");
    EXPECT_EQ(parsed.request.header("none"), "");
    EXPECT_EQ(parsed.request.body, "hello world");
}

TEST(RequestParser, ChunksAreJoinedAndTrailersIgnored) {
    const Parsed parsed = parse(kChunked + "GET");
    ASSERT_EQ(parsed.state, State::kDone);
    EXPECT_EQ(parsed.request.body, "hello world");
    EXPECT_EQ(parsed.request.header("x-thing"), "");
    EXPECT_EQ(parsed.rest, "GET");
}

TEST(RequestParser, AnySplitGivesTheSameRequest) {
    for (const std::string& text : {kPost, kChunked})
        for (size_t step = 1; step < text.size(); ++step) {
            const Parsed parsed = parse(text, step);
            ASSERT_EQ(parsed.state, State::kDone) << step;
            EXPECT_EQ(parsed.request.body, "hello world") << step;
            EXPECT_EQ(parsed.request.headers, parse(text).request.headers) << step;
        }
}

// The library asserts five bytes where a first chunk that is the last gives three.
TEST(RequestParser, AnEmptyChunkedBodyMayComeByteByByte) {
    const std::string text =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    EXPECT_EQ(parse(text, 1).state, State::kDone);
}

TEST(RequestParser, ATruncatedRequestIsNeverDone) {
    for (const std::string& text : {kPost, kChunked})
        for (size_t bytes = 1; bytes < text.size(); ++bytes)
            for (const size_t step : {size_t{1}, bytes}) {
                const State state = parse(text.substr(0, bytes), step).state;
                EXPECT_TRUE(state == State::kHeader || state == State::kBody) << bytes;
            }
}

TEST(RequestParser, EveryByteFlippedStaysInBounds) {
    for (const std::string& text : {kPost, kChunked})
        for (size_t at = 0; at < text.size(); ++at)
            for (int value = 0; value < 256; ++value) {
                std::string flipped = text;
                flipped[at] = static_cast<char>(value);
                // In pieces an error may only show when the header is complete.
                const Parsed whole = parse(flipped);
                const Parsed split = parse(flipped, 7);
                ASSERT_EQ(whole.state == State::kDone, split.state == State::kDone) << at;
                ASSERT_EQ(whole.request.body, split.request.body) << at << " " << value;
                ASSERT_TRUE(whole.state != State::kFailed || whole.status >= 400);
            }
}

TEST(RequestParser, MalformedRequestsAreRefused) {
    const std::string host = "Host: a\r\n";
    for (const std::string& text : {
             std::string("\x16\x03\x01\x02\x01\x01"),  // a TLS client
             std::string("GET\r\n\r\n"),
             "GET  / HTTP/1.1\r\n" + host + "\r\n",
             "GET / HTTP/2.0\r\n" + host + "\r\n",
             "GET / HTTP/1.1\n" + host + "\r\n",
             "GET nowhere HTTP/1.1\r\n" + host + "\r\n",
             "GET /%zz HTTP/1.1\r\n" + host + "\r\n",
             "GET /%00 HTTP/1.1\r\n" + host + "\r\n",
             "GET /?%4 HTTP/1.1\r\n" + host + "\r\n",
             "GET /#part HTTP/1.1\r\n" + host + "\r\n",
             "GET * HTTP/1.1\r\n" + host + "\r\n",
             "GET / HTTP/1.1\r\n" + host + "Bad Name: 1\r\n\r\n",
             "GET / HTTP/1.1\r\n" + host + "Name : 1\r\n\r\n",
             "GET / HTTP/1.1\r\n" + host + std::string("X: a\0b\r\n\r\n", 11),
             std::string("GET / HTTP/1.1\r\n\r\n"),  // no Host
             "GET / HTTP/1.1\r\n" + host + host + "\r\n",
             "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host + "Content-Length: 1x\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host + "Content-Length: 1, 1\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host +
                 "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host +
                 "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host +
                 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
             std::string("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
             "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nx\r\n",
             "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
             "POST / HTTP/1.1\r\n" + host +
                 "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
             "POST / HTTP/1.1\r\n" + host +
                 "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
         }) {
        const Parsed parsed = parse(text);
        EXPECT_EQ(parsed.state, State::kFailed) << text;
        EXPECT_EQ(parsed.status, 400) << text;
    }
}

TEST(RequestParser, OtherRefusalsHaveTheirStatus) {
    const auto status = [](const std::string& text) { return parse(text).status; };
    const std::string host = "Host: a\r\n";
    EXPECT_EQ(status("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n"), 501);
    EXPECT_EQ(status("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n"),
              501);
    EXPECT_EQ(status("POST / HTTP/1.1\r\n" + host + "Expect: wonders\r\n\r\n"), 417);
    EXPECT_EQ(status("POST / HTTP/1.0\r\n\r\n"), 411);
}

TEST(RequestParser, LimitsCountToTheByte) {
    const std::string header = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    ParserLimits limits = {.header_bytes_max = header.size() + 100 + 4, .body_bytes_max = 10};
    for (const size_t step : {size_t{1}, size_t{50}, size_t{1000}}) {
        EXPECT_EQ(parse(header + std::string(100, 'x') + "\r\n\r\n", step, limits).state,
                  State::kDone);
        EXPECT_EQ(parse(header + std::string(101, 'x') + "\r\n\r\n", step, limits).status, 431);
        EXPECT_EQ(parse(header + std::string(10'000, 'x'), step, limits).status, 431);
        EXPECT_EQ(parse("GET /" + std::string(10'000, 'x'), step, limits).status, 414);
        const std::string start = "POST / HTTP/1.1\r\nHost: a\r\n";
        EXPECT_EQ(parse(start + "Content-Length: 10\r\n\r\n0123456789", step, limits).state,
                  State::kDone);
        EXPECT_EQ(parse(start + "Content-Length: 11\r\n\r\n", step, limits).status, 413);
        const std::string chunked = start + "Transfer-Encoding: chunked\r\n\r\n";
        EXPECT_EQ(parse(chunked + "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", step, limits).state,
                  State::kDone);
        EXPECT_EQ(parse(chunked + "5\r\n01234\r\n6\r\n", step, limits).status, 413);
        EXPECT_EQ(parse(chunked + "ffffffffffffffff\r\n", step, limits).status, 413);
        EXPECT_EQ(parse(chunked + "1;" + std::string(10'000, 'x'), step, limits).status, 431);
        EXPECT_EQ(parse(chunked + "0\r\nX: " + std::string(10'000, 'x'), step, limits).status, 431);
    }
}

TEST(RequestParser, ConnectionsAreKeptAsTheVersionSays) {
    const auto keeps = [](const std::string& text) {
        RequestParser parser({});
        parser.feed(text);
        return parser.keep_alive();
    };
    EXPECT_TRUE(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"));
    EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
    EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

TEST(RequestTarget, Forms) {
    EXPECT_EQ(parse_target("http://host:1/a/b?c=d")->path, "/a/b");
    EXPECT_EQ(parse_target("http://host")->path, "/");
    EXPECT_EQ(parse_target("http://host?x=1")->query.size(), 1u);
    EXPECT_EQ(parse_target("/a%2fb+c")->path, "/a/b+c");
    EXPECT_EQ(parse_target("/?&a=b=c&&")->query[0].second, "b=c");
    EXPECT_FALSE(parse_target(""));
    EXPECT_FALSE(parse_target("http://"));
    EXPECT_FALSE(parse_target("host:443"));
    EXPECT_FALSE(parse_target("ftp://host/"));
}

}  // namespace
}  // namespace baleen::net
