#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace baleen::serve {
namespace {

constexpr std::array kFirstTokenBounds = {0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0};
constexpr std::array kTokenBounds = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0};
constexpr std::array kRequestBounds = {0.1,  0.3,   1.0,   3.0,    10.0,
                                       30.0, 100.0, 300.0, 1000.0, 3000.0};

void write_head(std::string& out, std::string_view name, std::string_view type,
                std::string_view help) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

}  // namespace

Histogram::Histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size()) {}

void Histogram::observe(double value) {
    const std::lock_guard lock(mutex_);
    const auto bucket = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
    if (static_cast<size_t>(bucket) < counts_.size()) ++counts_[static_cast<size_t>(bucket)];
    sum_ += value;
    ++count_;
}

void Histogram::write(const std::string& name, std::string& out) const {
    const std::lock_guard lock(mutex_);
    uint64_t running = 0;
    for (size_t i = 0; i < bounds_.size(); ++i)
        out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bounds_[i], running += counts_[i]);
    out += fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, count_,
                       sum_);
}

Metrics::Metrics()
    : first_token_seconds(kFirstTokenBounds),
      token_seconds(kTokenBounds),
      request_seconds(kRequestBounds) {}

void Metrics::count_request(std::string_view api, int status) {
    const std::lock_guard lock(mutex_);
    ++requests_[{std::string(api), status}];
}

void Metrics::count_finish(std::string_view reason) {
    const std::lock_guard lock(mutex_);
    ++finishes_[std::string(reason)];
}

void write_metric(std::string& out, std::string_view name, std::string_view type,
                  std::string_view help, double value) {
    write_head(out, name, type, help);
    out += fmt::format("{} {}\n", name, value);
}

std::string Metrics::text() const {
    std::string out;
    write_head(out, "baleen_requests_total", "counter", "HTTP requests by API and status");
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [key, count] : requests_)
            out += fmt::format("baleen_requests_total{{api=\"{}\",status=\"{}\"}} {}\n", key.first,
                               key.second, count);
        write_head(out, "baleen_finishes_total", "counter", "Answers by finish reason");
        for (const auto& [reason, count] : finishes_)
            out += fmt::format("baleen_finishes_total{{reason=\"{}\"}} {}\n", reason, count);
    }
    const auto counter = [&](std::string_view name, std::string_view help,
                             const std::atomic<uint64_t>& value) {
        write_metric(out, name, "counter", help, static_cast<double>(value.load()));
    };
    counter("baleen_prompt_tokens_total", "Tokens of prompts, cached ones included", prompt_tokens);
    counter("baleen_cached_tokens_total", "Prompt tokens reused from the KV cache", cached_tokens);
    counter("baleen_completion_tokens_total", "Sampled tokens", completion_tokens);
    counter("baleen_reasoning_tokens_total", "Sampled tokens of reasoning", reasoning_tokens);
    counter("baleen_tool_calls_total", "Completed tool calls", tool_calls);
    counter("baleen_unknown_tools_total", "Calls of tools that the request did not declare",
            unknown_tools);
    counter("baleen_repaired_values_total", "Parameter values that were no JSON, sent as strings",
            repaired_values);
    counter("baleen_unwrapped_calls_total", "Calls whose arguments stood in one parameter more",
            unwrapped_calls);
    counter("baleen_malformed_calls_total", "Streamed calls with a repeated parameter",
            malformed_calls);
    counter("baleen_repeated_calls_total", "Calls equal to an earlier call of their conversation",
            repeated_calls);
    counter("baleen_replayed_messages_total", "History messages rendered from sampled tokens",
            replayed_messages);
    counter("baleen_missing_reasoning_total", "Tool turns whose reasoning nobody knew",
            missing_reasoning);
    const auto histogram = [&](const std::string& name, std::string_view help,
                               const Histogram& value) {
        write_head(out, name, "histogram", help);
        value.write(name, out);
    };
    histogram("baleen_first_token_seconds", "From the request to its first token",
              first_token_seconds);
    histogram("baleen_token_seconds", "Between two tokens of one answer", token_seconds);
    histogram("baleen_request_seconds", "From the request to the end of its answer",
              request_seconds);
    return out;
}

}  // namespace baleen::serve
