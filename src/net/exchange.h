// The handler's side of a connection: turns its calls into bytes for the Outbox. Private to net.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "net/connection.h"

namespace baleen::net {

// Lives on the handler's thread while the handler runs.
class ConnectionExchange final : public Exchange {
  public:
    explicit ConnectionExchange(Connection& connection);
    ~ConnectionExchange() override;

    const Request& request() const override { return connection_.request(); }
    void respond(int status, const Headers& headers, std::string body) override;
    Result<void> begin(int status, const Headers& headers) override;
    Result<void> write(std::string_view bytes) override;
    void end() override;
    bool has_begun() const override { return stage_ != Stage::kNothing; }
    bool client_gone() const override { return connection_.gone_signal().is_raised(); }
    void on_gone(std::function<void()> callback) override;

    bool is_whole() const { return stage_ == Stage::kEnded; }

  private:
    enum class Stage { kNothing, kStream, kEnded };
    Result<void> put_piece(std::string_view piece);

    Connection& connection_;
    const bool is_head_;
    Stage stage_ = Stage::kNothing;
    Framing framing_;
};

}  // namespace baleen::net
