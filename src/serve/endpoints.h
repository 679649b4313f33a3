// The endpoints: one function per route, run on the handler's thread. Errors before the answer has
// begun are returned and become the API's error body; later ones end the stream in the API's way.
#pragma once

#include <atomic>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "net/http_server.h"
#include "serve/generation.h"
#include "serve/service.h"
#include "text/json_text.h"

namespace baleen::serve {

Result<void> serve_chat(Service& service, net::Exchange& exchange, const JsonText& body);
Result<void> serve_messages(Service& service, net::Exchange& exchange, const JsonText& body);
Result<void> serve_count_tokens(Service& service, net::Exchange& exchange, const JsonText& body);
Result<void> serve_responses(Service& service, net::Exchange& exchange, const JsonText& body);
Result<void> serve_completions(Service& service, net::Exchange& exchange, const JsonText& body);
Result<void> serve_generate(Service& service, net::Exchange& exchange, const JsonText& body);
Result<void> serve_tokenize(Service& service, net::Exchange& exchange, const JsonText& body);
Result<void> serve_detokenize(Service& service, net::Exchange& exchange, const JsonText& body);

// Headers of every generated answer: request id, cache decision, dialect and mode, warnings.
net::Headers answer_headers(const Generation& generation, const Opening& opening);

// A stream of server-sent events. A write that fails has cancelled the exchange.
class EventStream {
  public:
    explicit EventStream(net::Exchange& exchange) : exchange_(exchange) {}
    Result<void> begin(net::Headers headers);
    Result<void> send(const Json& data);                          // data: {...}
    Result<void> send(std::string_view event, const Json& data);  // event: name, data: {...}
    Result<void> send_text(std::string_view data);                // data: text
    Result<void> comment();                                       // : keep-alive
    void end() { exchange_.end(); }

  private:
    net::Exchange& exchange_;
};

// Starts a generation that ends when the client goes.
Result<std::unique_ptr<Generation>> start_generation(Service& service, net::Exchange& exchange,
                                                     Job job);

int64_t unix_time();

}  // namespace baleen::serve
