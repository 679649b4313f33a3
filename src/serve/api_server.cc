#include "serve/api_server.h"

#include <algorithm>
#include <atomic>

#include "base/log.h"
#include "serve/api_error.h"
#include "serve/endpoints.h"
#include "serve/fields.h"
#include "serve/page.h"
#include "serve/request_log.h"

namespace baleen::serve {
namespace {

using Endpoint = Result<void> (*)(Service&, net::Exchange&, const JsonText&);

struct Route {
    std::string_view path;
    Endpoint endpoint;
};

constexpr Route kPostRoutes[] = {
    {"/v1/chat/completions", serve_chat},   {"/chat/completions", serve_chat},
    {"/v1/completions", serve_completions}, {"/completions", serve_completions},
    {"/v1/responses", serve_responses},     {"/responses", serve_responses},
    {"/v1/messages", serve_messages},       {"/v1/messages/count_tokens", serve_count_tokens},
    {"/tokenize", serve_tokenize},          {"/detokenize", serve_detokenize},
    {"/generate", serve_generate},
};
constexpr std::string_view kGetPaths[] = {"/", "/health", "/metrics", "/v1/models"};

ErrorStyle style_of(std::string_view path) {
    return path.starts_with("/v1/messages") ? ErrorStyle::kAnthropic : ErrorStyle::kOpenAi;
}

net::ErrorBody write_http_error(int status, std::string_view message, std::string_view path) {
    const ApiError error = http_error(status, std::string(message));
    return {"application/json", dump_json(error_json(error, style_of(path)))};
}

// Adds the headers of every answer and remembers its status.
class FrontExchange final : public net::Exchange {
  public:
    FrontExchange(net::Exchange& inner, const std::string& cors_origin)
        : inner_(inner), cors_origin_(cors_origin) {}

    const net::Request& request() const override { return inner_.request(); }
    void respond(int status, const net::Headers& headers, std::string body) override {
        status_ = status;
        inner_.respond(status, with_common(headers), std::move(body));
    }
    Result<void> begin(int status, const net::Headers& headers) override {
        status_ = status;
        return inner_.begin(status, with_common(headers));
    }
    Result<void> write(std::string_view bytes) override { return inner_.write(bytes); }
    void end() override { inner_.end(); }
    bool has_begun() const override { return inner_.has_begun(); }
    bool client_gone() const override { return inner_.client_gone(); }
    void on_gone(std::function<void()> callback) override { inner_.on_gone(std::move(callback)); }

    int status() const { return status_; }

  private:
    net::Headers with_common(net::Headers headers) const {
        if (!cors_origin_.empty()) {
            headers.emplace_back("access-control-allow-origin", cors_origin_);
            headers.emplace_back("access-control-allow-headers", "*, authorization");
            headers.emplace_back("access-control-allow-methods", "GET, POST, OPTIONS");
            headers.emplace_back("access-control-expose-headers", "*");
        }
        return headers;
    }

    net::Exchange& inner_;
    const std::string& cors_origin_;
    int status_ = 0;
};

std::string_view without_port(std::string_view host) {
    if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
    return host.substr(0, host.find(':'));
}

bool is_loopback(std::string_view host) {
    return host == "localhost" || host == "[::1]" || host == "::1" || host.starts_with("127.") ||
           host.ends_with(".localhost");
}

}  // namespace

struct ApiServer::State {
    ApiServerOptions options;
    Tokenizer tokenizer;
    std::unique_ptr<Script> script;
    std::unique_ptr<Scheduler> scheduler;
    std::unique_ptr<Service> service;
    std::atomic<bool> stopping{false};
    std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
    // Last: its handlers use all of the above. They may run before start() has stored the server,
    // so they see it through `listening`.
    std::unique_ptr<net::Server> server;
    std::atomic<net::Server*> listening{nullptr};

    State(ApiServerOptions state_options, Tokenizer state_tokenizer)
        : options(std::move(state_options)), tokenizer(std::move(state_tokenizer)) {}

    void handle(net::Exchange& inner);
    void route(FrontExchange& exchange);
    void get(FrontExchange& exchange, std::string_view path);
    void post(FrontExchange& exchange, const Route& route);
    std::optional<ApiError> refuse(const net::Request& request) const;
    bool is_authorised(const net::Request& request) const;
    Json models() const;
    std::string metrics() const;
};

void ApiServer::State::handle(net::Exchange& inner) {
    FrontExchange exchange(inner, options.cors_origin);
    route(exchange);
    const std::string& path = exchange.request().path;
    const bool is_known =
        std::ranges::any_of(kPostRoutes, [&](const Route& r) { return r.path == path; }) ||
        std::ranges::find(kGetPaths, path) != std::end(kGetPaths);
    service->metrics.count_request(is_known ? path : "other", exchange.status());
}

// Browsers: pages of other origins may not call unless allowed by name, and a name that resolves to
// this machine is not this server (DNS rebinding).
std::optional<ApiError> ApiServer::State::refuse(const net::Request& request) const {
    const std::string_view origin = request.header("origin");
    const std::string_view host = request.header("host");
    const auto forbidden = [](std::string message) {
        return ApiError{.status = 403,
                        .type = "permission_error",
                        .code = "forbidden",
                        .message = std::move(message)};
    };
    if (is_loopback(options.net.host) && !host.empty() && !is_loopback(without_port(host)))
        return forbidden(fmt::format("host '{}' is not this server's: it listens on {} only", host,
                                     options.net.host));
    const bool same_origin = origin.ends_with(host) && origin.size() > host.size() &&
                             origin[origin.size() - host.size() - 1] == '/';
    if (!origin.empty() && !same_origin && options.cors_origin != "*" &&
        options.cors_origin != origin)
        return forbidden(fmt::format(
            "pages of '{}' may not call this server (start it with --cors ORIGIN to allow it)",
            origin));
    return std::nullopt;
}

bool ApiServer::State::is_authorised(const net::Request& request) const {
    if (options.api_key.empty()) return true;
    constexpr std::string_view kBearer = "Bearer ";
    const std::string_view authorization = request.header("authorization");
    if (authorization.starts_with(kBearer) &&
        equal_constant_time(authorization.substr(kBearer.size()), options.api_key))
        return true;
    return equal_constant_time(request.header("x-api-key"), options.api_key);
}

void ApiServer::State::route(FrontExchange& exchange) {
    const net::Request& request = exchange.request();
    const std::string& path = request.path;
    const ErrorStyle style = style_of(path);
    if (const auto refusal = refuse(request)) return respond_error(exchange, *refusal, style);
    if (request.method == "OPTIONS") return exchange.respond(204, {}, "");
    const bool is_open = path == "/" || path == "/health";
    if (!is_open && !is_authorised(request))
        return respond_error(exchange,
                             {.status = 401,
                              .type = "authentication_error",
                              .code = "invalid_api_key",
                              .message = "the API key is missing or wrong, expected it in "
                                         "'Authorization: Bearer KEY' or 'x-api-key'"},
                             style);
    const auto post_route = std::ranges::find(kPostRoutes, path, &Route::path);
    const bool is_get = request.method == "GET" || request.method == "HEAD";
    const bool has_get = std::ranges::find(kGetPaths, path) != std::end(kGetPaths) ||
                         path.starts_with("/v1/models/");
    if (post_route != std::end(kPostRoutes)) {
        if (request.method == "POST") return post(exchange, *post_route);
    } else if (has_get) {
        if (is_get) return get(exchange, path);
    } else {
        return respond_error(
            exchange,
            {.status = 404,
             .type = "not_found_error",
             .code = "",
             .message = fmt::format("no endpoint {} {} (see docs/api.md)", request.method, path)},
            style);
    }
    respond_error(exchange,
                  {.status = 405,
                   .type = "invalid_request_error",
                   .code = "",
                   .message = fmt::format("{} of {} is not allowed, expected {}", request.method,
                                          path, has_get ? "GET" : "POST")},
                  style);
}

void ApiServer::State::post(FrontExchange& exchange, const Route& route) {
    const ErrorStyle style = style_of(route.path);
    const auto body = JsonText::parse(exchange.request().body);
    if (!body) return respond_error(exchange, api_error(Error(body.error()).in("body")), style);
    if (!body->is_object())
        return respond_error(exchange, api_error(wrong_field("body", *body, "a JSON object")),
                             style);
    const Result<void> served = route.endpoint(*service, exchange, *body);
    if (served || exchange.has_begun()) return;
    ApiError error = api_error(served.error());
    if (served.error().code == ErrorCode::kNotFound) error.status = 500;  // a script has run out
    log_info("serve", "refused path={} status={} message={}", route.path, error.status,
             baleen::quoted(error.message));
    respond_error(exchange, error, style);
}

Json ApiServer::State::models() const {
    const Json model = {{"id", options.service.model_name},
                        {"object", "model"},
                        {"type", "model"},
                        {"display_name", options.service.model_name},
                        {"created", 0},
                        {"owned_by", "baleen"},
                        {"context_length", service->options.context_tokens_max},
                        {"max_model_len", service->options.context_tokens_max},
                        {"dialect", dialect_name(options.service.dialect)}};
    return {{"object", "list"}, {"data", Json::array({model})}, {"has_more", false}};
}

std::string ApiServer::State::metrics() const {
    std::string out = service->metrics.text();
    const SchedulerStats s = scheduler->stats();
    const net::Server* const listener = listening;
    const net::Server::Stats n = listener != nullptr ? listener->stats() : net::Server::Stats{};
    const auto write = [&](std::string_view name, std::string_view type, std::string_view help,
                           uint64_t value) {
        write_metric(out, name, type, help, static_cast<double>(value));
    };
    write("baleen_queued_requests", "gauge", "Requests that wait", s.queued);
    write("baleen_running_sequences", "gauge", "Sequences that hold KV", s.running);
    write("baleen_rejected_requests_total", "counter", "Requests refused by a full queue",
          s.rejected);
    write("baleen_cancelled_requests_total", "counter", "Requests ended by their client",
          s.cancelled);
    write("baleen_prefilled_tokens_total", "counter", "Prompt tokens run", s.prefilled_tokens);
    write("baleen_sampled_tokens_total", "counter", "Tokens sampled", s.sampled_tokens);
    write("baleen_drafts_proposed_total", "counter", "Tokens drafted by the MTP block",
          s.drafts_proposed);
    write("baleen_drafts_accepted_total", "counter", "Drafts that were sampled", s.drafts_accepted);
    write("baleen_steps_total", "counter", "Passes over the weights", s.steps);
    write("baleen_cache_entries", "gauge", "Restore points of the prefix cache", s.cache_entries);
    write("baleen_cache_evictions_total", "counter", "Restore points given up", s.cache_evictions);
    write("baleen_kv_bytes", "gauge", "KV pages in use", s.kv_bytes_in_use);
    write("baleen_cache_bytes", "gauge", "Bytes kept for reuse", s.cache_bytes);
    write("baleen_replay_bytes", "gauge", "Sampled answers remembered", service->replay.bytes());
    write("baleen_connections", "gauge", "Open connections", n.connections);
    write("baleen_active_handlers", "gauge", "Requests being answered", n.active);
    write("baleen_clients_gone_total", "counter", "Clients that left during their answer", n.gone);
    write("baleen_write_timeouts_total", "counter", "Clients that stopped reading",
          n.write_timeouts);
    return out;
}

void ApiServer::State::get(FrontExchange& exchange, std::string_view path) {
    if (path == "/")
        return exchange.respond(200,
                                {{"content-type", "text/html; charset=utf-8"},
                                 {"content-security-policy",
                                  "default-src 'none'; style-src 'unsafe-inline'; script-src "
                                  "'unsafe-inline'; connect-src 'self'; img-src data:"},
                                 {"x-frame-options", "DENY"}},
                                std::string(chat_page()));
    if (path == "/metrics")
        return exchange.respond(200, {{"content-type", "text/plain; version=0.0.4"}}, metrics());
    if (path == "/v1/models") return respond_json(exchange, 200, models());
    if (path.starts_with("/v1/models/")) return respond_json(exchange, 200, models()["data"][0]);
    const SchedulerStats s = scheduler->stats();
    respond_json(exchange, stopping ? 503 : 200,
                 {{"status", stopping ? "stopping" : "ok"},
                  {"model", options.service.model_name},
                  {"dialect", dialect_name(options.service.dialect)},
                  {"context", service->options.context_tokens_max},
                  {"queued", s.queued},
                  {"running", s.running},
                  {"kv_bytes", s.kv_bytes_in_use},
                  {"cache_bytes", s.cache_bytes},
                  {"scripted", script != nullptr},
                  {"uptime_s", std::chrono::duration_cast<std::chrono::seconds>(
                                   std::chrono::steady_clock::now() - begun)
                                   .count()}});
}

Result<std::unique_ptr<ApiServer>> ApiServer::start(const ApiServerOptions& options,
                                                    std::unique_ptr<Engine> engine,
                                                    Tokenizer tokenizer,
                                                    std::unique_ptr<Script> script) {
    const size_t vocab_size = engine->vocab_size();
    if (tokenizer.token_id(kEos) < 0)
        return make_error(ErrorCode::kInvalidArgument, "the tokenizer has no {}, which chat needs",
                          kEos);
    auto state = std::make_unique<State>(options, std::move(tokenizer));
    state->script = std::move(script);
    state->scheduler = std::make_unique<Scheduler>(std::move(engine), options.scheduler);
    state->service = std::make_unique<Service>(options.service, *state->scheduler, state->tokenizer,
                                               make_vocabulary(state->tokenizer, vocab_size),
                                               state->script.get());
    if (!options.service.request_log.empty())
        state->service->request_log = TRY(RequestLog::open(options.service.request_log));
    State* const shared = state.get();
    net::ServerOptions net_options = options.net;
    net_options.error_writer = write_http_error;
    state->server = TRY(net::Server::listen(
        net_options, [shared](net::Exchange& exchange) { shared->handle(exchange); }));
    state->listening = state->server.get();
    return std::unique_ptr<ApiServer>(new ApiServer(std::move(state)));
}

ApiServer::ApiServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

ApiServer::~ApiServer() {
    shutdown(std::chrono::steady_clock::now());
}

std::string ApiServer::address() const {
    return state_->server->address();
}

ApiServer::Shutdown ApiServer::shutdown(std::chrono::steady_clock::time_point deadline) {
    Shutdown result;
    state_->stopping = true;
    result.cancelled_requests = state_->scheduler->shutdown(deadline);
    // What the scheduler has ended, the handlers can still tell.
    result.cut_connections = state_->server->shutdown(
        std::max(deadline, std::chrono::steady_clock::now() + std::chrono::seconds(1)));
    return result;
}

}  // namespace baleen::serve
