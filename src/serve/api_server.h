// ApiServer: the HTTP front of one engine: OpenAI Chat, Completions and Responses, Anthropic
// Messages, the token API, health, metrics and the chat page (docs/api.md).
//
// Owns engine, scheduler and listener. Requests are handled on the listener's handler threads;
// everything they share is in Service.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "net/http_server.h"
#include "serve/script.h"
#include "serve/service.h"

namespace baleen::serve {

struct ApiServerOptions {
    net::ServerOptions net;
    SchedulerOptions scheduler;
    ServiceOptions service;
    std::string api_key;      // empty: none is asked for
    std::string cors_origin;  // a page's origin that may call, "*" for any; empty: none
};

class ApiServer {
  public:
    static Result<std::unique_ptr<ApiServer>> start(const ApiServerOptions& options,
                                                    std::unique_ptr<Engine> engine,
                                                    Tokenizer tokenizer,
                                                    std::unique_ptr<Script> script);
    ~ApiServer();

    std::string address() const;

    struct Shutdown {
        size_t cancelled_requests = 0;  // generations that did not finish in time
        size_t cut_connections = 0;
    };
    // Refuses new requests and lets the running ones finish until the deadline.
    Shutdown shutdown(std::chrono::steady_clock::time_point deadline);

  private:
    struct State;
    explicit ApiServer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace baleen::serve
