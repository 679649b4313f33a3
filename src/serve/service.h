// Service: what every request handler shares. Made once by ApiServer; its parts lock themselves.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "engine/scheduler.h"
#include "serve/metrics.h"
#include "serve/replay_memory.h"
#include "serve/script.h"
#include "text/output_constraint.h"
#include "text/tokenizer.h"

namespace baleen::serve {

struct ServiceOptions {
    std::string model_name = "deepseek-v4";
    Dialect dialect = Dialect::kV4;
    int64_t context_tokens_max = 0;  // 0: the model's, and never more than that
    size_t replay_bytes_max = size_t{256} << 20;
    std::chrono::milliseconds keep_alive{4000};  // longest silence of a stream
    std::chrono::seconds request_time_max{3600};
    int64_t tokens_max_default = 32768;  // where a request names no limit
    size_t choices_max = 16;
    bool strict_deepseek = false;  // answer 400 where the vendor does (spec section 14)
    bool vendor_sampling = false;  // ignore temperature in thinking mode, clamp top_p
    bool control_markers_only = false;
    bool keep_reasoning = false;  // never drop old reasoning (spec section 5, second trap)
    bool constrain = true;        // grammar from the block marker on
    bool repair_arguments =
        false;                // unwrap {"arguments": {...}} where the schema has no such field
    std::string request_log;  // one JSON line per finished request; empty: none
};

class RequestLog;

struct Service {
    ServiceOptions options;
    Scheduler& scheduler;
    const Tokenizer& tokenizer;
    std::shared_ptr<const Vocabulary> vocabulary;
    Script* script = nullptr;  // null: the model speaks for itself
    ReplayMemory replay;
    Metrics metrics;
    std::unique_ptr<RequestLog> request_log;

    Service(const ServiceOptions& options, Scheduler& scheduler, const Tokenizer& tokenizer,
            std::shared_ptr<const Vocabulary> vocabulary, Script* script);
    ~Service();
};

}  // namespace baleen::serve
