// The options of `baleen serve`, with their help.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"
#include "cli/model_options.h"
#include "serve/api_server.h"

namespace baleen::cli {

struct ServeArgs {
    ModelArgs model;
    std::string tokenizer;  // empty: the model folder's
    std::string host = "127.0.0.1";
    uint16_t port = 8080;
    std::string api_key;
    std::string cors;
    std::string model_name;  // empty: the model folder's name
    std::string dialect = "v4";
    int64_t context = 0;
    double kv_gib = 0;  // 0: no limit
    double cache_gib = 4;
    size_t running_max = 64;
    size_t queue_max = 256;
    bool mtp = false;
    bool no_prefix_cache = false;
    bool no_constraints = false;
    bool strict_deepseek = false;
    bool vendor_sampling = false;
    bool keep_reasoning = false;
    bool control_markers_only = false;
    int64_t tokens_max_default = 32768;
    int64_t request_time_s = 3600;
    int64_t keep_alive_ms = 4000;
    int64_t grace_s = 30;
    std::string script;
    bool allow_script = false;
    std::string request_log;
    std::string log_level = "info";

    // Declares all options, the model's included, and the examples.
    void add_to(CLI::App& command);
    Result<serve::ApiServerOptions> server_options() const;
    size_t kv_bytes_max() const;
};

}  // namespace baleen::cli
