#include "net/request_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <limits>

#include "net/request_target.h"

namespace baleen::net {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using BoostView = boost::beast::string_view;

std::string_view view(BoostView text) {
    return {text.data(), text.size()};
}

std::string lower_case(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

bool equal_ignoring_case(std::string_view a, std::string_view lower_b) {
    return lower_case(a) == lower_b;
}

std::string upper_case(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return out;
}

}  // namespace

std::string_view Request::header(std::string_view name) const {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return {};
}

// The library's parser calls back for each part; the parts go straight into the Request.
class RequestParser::Machine final : public http::basic_parser<true> {
  public:
    explicit Machine(const ParserLimits& limits) : limits_(limits) {
        body_limit(limits.body_bytes_max);
        // The library forgets what it has used; limit_header() does not.
        header_limit(std::numeric_limits<uint32_t>::max());
    }

    size_t consume(std::string_view bytes) {
        size_t used = 0;
        if (!is_header_done()) {
            eager(false);  // stops behind the header
            used = parse(bytes);
            header_bytes_ += used;
            if (state == State::kFailed) return used;
            limit_header(bytes.substr(used));
            if (state == State::kFailed || !is_header_done()) return used;
            eager(true);
        }
        if (!is_done() && used < bytes.size()) used += parse(bytes.substr(used));
        if (state == State::kFailed) return used;
        state = is_done() ? State::kDone : State::kBody;
        // What is left over is an incomplete size line of a chunk, or an incomplete trailer.
        if (state == State::kBody && bytes.size() - used > limits_.header_bytes_max)
            refuse(431, too_long("size line of a chunk, or the trailer,"));
        return used;
    }

    State state = State::kHeader;
    Refusal refusal;
    Request request;
    bool is_http10 = false;
    bool expects_continue = false;

  private:
    size_t parse(std::string_view bytes) {
        error_code error;
        const size_t used = put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
        if (!error || error == http::error::need_more || state == State::kFailed) return used;
        if (error == http::error::body_limit)
            refuse(413, fmt::format("the body exceeds {} bytes", limits_.body_bytes_max));
        else
            refuse(400, "malformed request: " + error.message());
        return used;
    }

    void refuse(int status, std::string message) {
        state = State::kFailed;
        refusal = {status, std::move(message)};
    }

    // As refuse(), from within a callback: the error stops the library.
    void refuse(int status, std::string message, error_code& error) {
        refuse(status, std::move(message));
        error = http::error::bad_value;
    }

    std::string too_long(std::string_view part) const {
        return fmt::format("the {} exceeds {} bytes", part, limits_.header_bytes_max);
    }

    // Counts what was used of the header and, while it is incomplete, what waits for more.
    void limit_header(std::string_view waiting) {
        const size_t incomplete_bytes = is_header_done() ? 0 : waiting.size();
        if (header_bytes_ + incomplete_bytes <= limits_.header_bytes_max) return;
        const bool in_request_line =
            header_bytes_ == 0 && waiting.find('\n') == std::string_view::npos;
        if (in_request_line)
            refuse(414, too_long("request line"));
        else
            refuse(431, too_long("header"));
    }

    void on_request_impl(http::verb, BoostView method, BoostView target, int version,
                         error_code& error) override {
        constexpr std::string_view kRest = "  HTTP/1.1\r\n";
        if (method.size() + target.size() + kRest.size() > limits_.header_bytes_max)
            return refuse(414, too_long("request line"), error);
        is_http10 = version == 10;
        request.method = upper_case(view(method));
        auto parsed = net::parse_target(view(target));
        if (!parsed || (target == "*" && request.method != "OPTIONS"))
            return refuse(400, "malformed request target", error);
        request.path = std::move(parsed->path);
        request.query = std::move(parsed->query);
    }

    void on_field_impl(http::field, BoostView name, BoostView value, error_code&) override {
        if (header_checked_) return;  // a trailer: it could forge what was checked already
        request.headers.emplace_back(lower_case(view(name)), std::string(view(value)));
    }

    void on_header_impl(error_code& error) override {
        header_checked_ = true;
        check_host(error);
        if (!error) check_framing(error);
        if (!error) check_expectation(error);
    }

    size_t count(std::string_view name) const {
        return static_cast<size_t>(std::count_if(request.headers.begin(), request.headers.end(),
                                                 [&](const auto& h) { return h.first == name; }));
    }

    void check_host(error_code& error) {
        const size_t hosts = count("host");
        if (hosts > 1 || (hosts == 0 && !is_http10))
            refuse(400, fmt::format("{} Host headers, expected one", hosts), error);
    }

    void check_framing(error_code& error) {
        if (const size_t codings = count("transfer-encoding"); codings > 0) {
            if (is_http10) return refuse(400, "a transfer coding in a request of HTTP/1.0", error);
            if (codings > 1 || !equal_ignoring_case(request.header("transfer-encoding"), "chunked"))
                return refuse(501, "a transfer coding other than chunked", error);
        }
        const size_t lengths = count("content-length");
        if (lengths > 1 || request.header("content-length").find(',') != std::string_view::npos)
            return refuse(400, "more than one Content-Length", error);
        const std::string& method = request.method;
        const bool has_body = method == "POST" || method == "PUT" || method == "PATCH";
        if (is_http10 && has_body && lengths == 0)
            refuse(411, "a body of HTTP/1.0 needs a Content-Length", error);
    }

    void check_expectation(error_code& error) {
        const std::string_view expected = request.header("expect");
        if (expected.empty() || is_http10) return;
        if (!equal_ignoring_case(expected, "100-continue"))
            return refuse(417, "an expectation other than 100-continue", error);
        expects_continue = true;
    }

    size_t on_body_impl(BoostView bytes, error_code&) override {
        request.body.append(bytes.data(), bytes.size());
        return bytes.size();
    }

    size_t on_chunk_body_impl(uint64_t, BoostView bytes, error_code&) override {
        request.body.append(bytes.data(), bytes.size());
        return bytes.size();
    }

    void on_response_impl(int, BoostView, int, error_code&) override {}
    void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
    void on_chunk_header_impl(uint64_t, BoostView, error_code&) override {}
    void on_finish_impl(error_code&) override {}

    ParserLimits limits_;
    size_t header_bytes_ = 0;
    bool header_checked_ = false;
};

RequestParser::RequestParser(const ParserLimits& limits)
    : machine_(std::make_unique<Machine>(limits)) {}
RequestParser::~RequestParser() = default;

size_t RequestParser::feed(std::string_view bytes) {
    CHECK(state() == State::kHeader || state() == State::kBody);
    return machine_->consume(bytes);
}

RequestParser::State RequestParser::state() const {
    return machine_->state;
}

const Refusal& RequestParser::refusal() const {
    CHECK(state() == State::kFailed);
    return machine_->refusal;
}

size_t RequestParser::body_bytes() const {
    return machine_->request.body.size();
}

const std::string& RequestParser::path() const {
    return machine_->request.path;
}

bool RequestParser::keep_alive() const {
    CHECK(state() == State::kBody || state() == State::kDone);
    return machine_->keep_alive();
}

bool RequestParser::is_http10() const {
    return machine_->is_http10;
}

bool RequestParser::expects_continue() const {
    return machine_->expects_continue;
}

Request RequestParser::take() {
    CHECK(state() == State::kDone);
    return std::move(machine_->request);
}

}  // namespace baleen::net
