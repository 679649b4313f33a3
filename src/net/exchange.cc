#include "net/exchange.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace baleen::net {
namespace {

// A longer write() leaves in chunks of this size, so that its bytes can be bounded on their way.
constexpr size_t kChunkBytesMax = size_t{64} << 10;

Error gone_error() {
    return {ErrorCode::kCancelled, "the client has gone"};
}

}  // namespace

ConnectionExchange::ConnectionExchange(Connection& connection)
    : connection_(connection), is_head_(connection.request().method == "HEAD") {}

ConnectionExchange::~ConnectionExchange() {
    connection_.gone_signal().watch(nullptr);
}

void ConnectionExchange::respond(int status, const Headers& headers, std::string body) {
    CHECK(stage_ == Stage::kNothing);
    stage_ = Stage::kEnded;
    const bool has_body = status_has_body(status);
    const Framing framing = {has_body ? Framing::Kind::kLength : Framing::Kind::kNone, body.size()};
    std::string head =
        response_head(status, headers, framing, connection_.version(), connection_.after_answer());
    // One string for a short answer, so that it leaves in one packet.
    if (!has_body || is_head_) body.clear();
    if (body.size() < kChunkBytesMax) head += std::exchange(body, {});
    connection_.outbox().put(std::move(head));
    connection_.outbox().put(std::move(body));
    connection_.flush_soon();
}

Result<void> ConnectionExchange::begin(int status, const Headers& headers) {
    CHECK(stage_ == Stage::kNothing);
    stage_ = Stage::kStream;
    if (status_has_body(status))
        framing_.kind = connection_.version() == HttpVersion::k11 ? Framing::Kind::kChunked
                                                                  : Framing::Kind::kUntilClose;
    if (framing_.kind == Framing::Kind::kUntilClose) connection_.close_after_answer();
    connection_.outbox().put(response_head(status, headers, framing_, connection_.version(),
                                           connection_.after_answer()));
    connection_.flush_soon();
    if (client_gone()) return gone_error();
    return {};
}

Result<void> ConnectionExchange::write(std::string_view bytes) {
    CHECK(stage_ == Stage::kStream);
    if (is_head_ || framing_.kind == Framing::Kind::kNone) bytes = {};
    while (!bytes.empty()) {
        const std::string_view piece = bytes.substr(0, kChunkBytesMax);
        TRY(put_piece(piece));
        bytes.remove_prefix(piece.size());
    }
    if (client_gone()) return gone_error();
    return {};
}

Result<void> ConnectionExchange::put_piece(std::string_view piece) {
    Outbox& outbox = connection_.outbox();
    if (!outbox.wait_for_room()) return gone_error();
    if (framing_.kind == Framing::Kind::kChunked)
        outbox.put({chunk_size_line(piece.size()), piece, "\r\n"});
    else
        outbox.put({piece});
    connection_.flush_soon();
    return {};
}

void ConnectionExchange::end() {
    CHECK(stage_ == Stage::kStream);
    stage_ = Stage::kEnded;
    if (framing_.kind != Framing::Kind::kChunked || is_head_) return;
    connection_.outbox().put({"0\r\n\r\n"});
    connection_.flush_soon();
}

void ConnectionExchange::on_gone(std::function<void()> callback) {
    connection_.gone_signal().watch(std::move(callback));
}

}  // namespace baleen::net
