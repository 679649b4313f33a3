// Counters and histograms in the Prometheus text format. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace baleen::serve {

class Histogram {
  public:
    // bounds: upper bounds of the buckets, ascending; one more catches the rest.
    explicit Histogram(std::span<const double> bounds);
    void observe(double value);
    // Appends the lines of `name` (no HELP or TYPE).
    void write(const std::string& name, std::string& out) const;

  private:
    std::span<const double> bounds_;
    mutable std::mutex mutex_;
    std::vector<uint64_t> counts_;  // guarded by mutex_, as is what follows
    double sum_ = 0;
    uint64_t count_ = 0;
};

class Metrics {
  public:
    Metrics();

    // Requests by API and HTTP status.
    void count_request(std::string_view api, int status);
    void count_finish(std::string_view reason);

    std::atomic<uint64_t> prompt_tokens{0}, cached_tokens{0}, completion_tokens{0},
        reasoning_tokens{0};
    std::atomic<uint64_t> tool_calls{0}, unknown_tools{0}, repaired_values{0}, malformed_calls{0},
        repeated_calls{0}, unwrapped_calls{0}, replayed_messages{0}, missing_reasoning{0};
    Histogram first_token_seconds, token_seconds, request_seconds;

    // All of the above, HELP and TYPE included.
    std::string text() const;

  private:
    mutable std::mutex mutex_;
    std::map<std::pair<std::string, int>, uint64_t> requests_;  // guarded by mutex_
    std::map<std::string, uint64_t, std::less<>> finishes_;     // guarded by mutex_
};

// One counter or gauge with its HELP and TYPE lines.
void write_metric(std::string& out, std::string_view name, std::string_view type,
                  std::string_view help, double value);

}  // namespace baleen::serve
