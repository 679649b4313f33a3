#include "cli/serve_options.h"

#include <filesystem>

#include "base/log.h"

namespace baleen::cli {
namespace {

constexpr double kGiB = 1 << 30;

size_t gib(double number) {
    return number <= 0 ? SIZE_MAX : static_cast<size_t>(number * kGiB);
}

}  // namespace

void ServeArgs::add_to(CLI::App& command) {
    model.add_to(command);
    command.add_option("--tokenizer", tokenizer,
                       "tokenizer.json, or a folder that holds one (default: the model folder)");
    command.add_option("--host", host, "Address to listen on, or unix:PATH")->capture_default_str();
    command.add_option("--port", port, "0: any free one")->capture_default_str();
    command
        .add_option("--api-key", api_key,
                    "Ask for this key in 'Authorization: Bearer' or 'x-api-key'")
        ->envname("BALEEN_API_KEY");
    command.add_option("--cors", cors, "Let pages of this origin call; '*' for any");
    command.add_option("--model-name", model_name,
                       "Name in answers and /v1/models (default: the model folder's)");
    command
        .add_option("--dialect", dialect,
                    "Prompt dialect of the weights: v4 for the April 2026 previews, v4-0731 for "
                    "Flash-0731 and Pro-0813")
        ->check(CLI::IsMember({"v4", "v4-0731", "v41"}))
        ->capture_default_str();
    command
        .add_option("--context", context, "Most tokens of prompt and answer (default: the model's)")
        ->check(CLI::Range(int64_t{256}, int64_t{1} << 30));
    command.add_option("--kv-memory", kv_gib, "GiB for all KV pages; 0: no limit")
        ->check(CLI::Range(0.0, 65536.0));
    command.add_option("--cache-memory", cache_gib, "GiB kept for prompts seen before")
        ->check(CLI::Range(0.001, 65536.0))
        ->capture_default_str();
    command.add_option("--parallel", running_max, "Most sequences at once")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    command.add_option("--queue", queue_max, "Most requests that wait; more are refused (429)")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    command.add_flag("--mtp", mtp, "Speculate with the MTP block; the tokens stay the same");
    command.add_flag("--no-prefix-cache", no_prefix_cache, "Run every prompt from its start");
    command.add_flag("--no-constraints", no_constraints, "Do not hold tool calls to a grammar");
    command.add_flag("--strict-deepseek", strict_deepseek,
                     "Answer 400 where DeepSeek's own API does (for client developers)");
    command.add_flag("--vendor-sampling", vendor_sampling,
                     "Ignore temperature while thinking, as DeepSeek's own API does");
    command.add_flag("--keep-reasoning", keep_reasoning,
                     "Keep the reasoning of all earlier turns, also without tools");
    command.add_flag("--control-markers-only", control_markers_only,
                     "Tool calls only where the model wrote the control token itself");
    command
        .add_option("--max-tokens", tokens_max_default,
                    "Most new tokens where a request names none")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
        ->capture_default_str();
    command.add_option("--request-time", request_time_s, "Most seconds of one request")
        ->check(CLI::Range(1, 1 << 30))
        ->capture_default_str();
    command.add_option("--keep-alive-ms", keep_alive_ms, "Longest silence of a stream")
        ->check(CLI::Range(10, 60000))
        ->capture_default_str();
    command.add_option("--grace", grace_s, "Seconds for running requests when stopped")
        ->check(CLI::Range(0, 86400))
        ->capture_default_str();
    command.add_option("--script", script,
                       "For tests: the model runs, but its answers are those written in FILE");
    command.add_flag("--allow-script", allow_script,
                     "Accept --script on an address that others can reach");
    command.add_option("--request-log", request_log, "Append one JSON line per request to FILE");
    command.add_option("--log-level", log_level, "debug, info, warn, error or off")
        ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
        ->capture_default_str();
    command.footer(
        "The first line on stdout is the address. Endpoints: /v1/chat/completions, "
        "/v1/completions, /v1/responses, /v1/messages, /v1/models, /tokenize, /detokenize, "
        "/generate, /health, /metrics, and a chat page at /.\n\n"
        "Examples:\n"
        "  baleen serve\n"
        "  baleen serve --model DIR --host 0.0.0.0 --api-key SECRET --dialect v4-0731\n"
        "  ANTHROPIC_BASE_URL=http://127.0.0.1:8080 ANTHROPIC_AUTH_TOKEN=x claude");
}

size_t ServeArgs::kv_bytes_max() const {
    return gib(kv_gib);
}

Result<serve::ApiServerOptions> ServeArgs::server_options() const {
    const bool is_local = host == "localhost" || host.starts_with("127.") || host == "::1" ||
                          host.starts_with("unix:");
    if (!script.empty() && !allow_script && !is_local)
        return make_error(ErrorCode::kInvalidArgument,
                          "--script with --host {}: scripted answers are for tests on this "
                          "machine; add --allow-script if others shall get them too",
                          host);
    set_log_level(TRY(parse_log_level(log_level)));
    serve::ApiServerOptions options;
    options.net.host = host;
    options.net.port = port;
    options.scheduler = {.running_max = running_max,
                         .queue_max = queue_max,
                         .cache_bytes_max = gib(cache_gib),
                         .prefix_cache = !no_prefix_cache};
    serve::ServiceOptions& service = options.service;
    service.model_name = model_name;
    if (model_name.empty())
        service.model_name = std::filesystem::weakly_canonical(model.directory).filename().string();
    service.dialect = TRY(parse_dialect(dialect));
    service.context_tokens_max = context;
    service.keep_alive = std::chrono::milliseconds(keep_alive_ms);
    service.request_time_max = std::chrono::seconds(request_time_s);
    service.tokens_max_default = tokens_max_default;
    service.strict_deepseek = strict_deepseek;
    service.vendor_sampling = vendor_sampling;
    service.control_markers_only = control_markers_only;
    service.keep_reasoning = keep_reasoning;
    service.constrain = !no_constraints;
    service.request_log = request_log;
    options.api_key = api_key;
    options.cors_origin = cors;
    return options;
}

}  // namespace baleen::cli
