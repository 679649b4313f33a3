// What `baleen bench` found, and its three forms: JSON, CSV and a table for people. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/machine_probe.h"

namespace baleen::cli {

struct Spread {
    double median = 0;
    double min = 0;
    double max = 0;

    // REQUIRES: at least one value.
    static Spread of(std::vector<double> values);
};

struct BenchRow {
    int64_t context = 0;
    Spread prefill_tok_s;
    Spread decode_tok_s;
    double decode_bytes_per_token = 0;  // weights and KV, as stored
    double bandwidth_fraction = 0;      // decode bytes per second / measured bandwidth
    double prefill_flops_fraction = 0;  // prefill FLOPs per second / measured dot-product rate
    size_t kv_bytes = 0;                // of a session of `context` tokens
    size_t rss_bytes = 0;               // of the process, mapped weights included
    const char* filled = "prefill";     // "synthetic": some of the context
};

struct BenchReport {
    MachineProbe machine;
    std::string model;
    std::string_view impl;
    std::string numerics;
    std::vector<BenchRow> rows;

    std::string json() const;
    std::string csv() const;
    std::string table() const;
};

}  // namespace baleen::cli
