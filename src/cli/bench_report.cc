#include "cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/json.h"
#include "cli/progress.h"

namespace baleen::cli {
namespace {

Json row_json(const BenchRow& row) {
    return {{"context", row.context},
            {"prefill_tok_s", row.prefill_tok_s.median},
            {"decode_tok_s", row.decode_tok_s.median},
            {"decode_bytes_per_token", row.decode_bytes_per_token},
            {"bandwidth_fraction", row.bandwidth_fraction},
            {"prefill_flops_fraction", row.prefill_flops_fraction},
            {"kv_bytes", row.kv_bytes},
            {"rss_bytes", row.rss_bytes},
            {"filled", row.filled},
            {"prefill_tok_s_min", row.prefill_tok_s.min},
            {"prefill_tok_s_max", row.prefill_tok_s.max},
            {"decode_tok_s_min", row.decode_tok_s.min},
            {"decode_tok_s_max", row.decode_tok_s.max}};
}

Json machine_json(const MachineProbe& machine) {
    return {{"cpu", machine.cpu_model},
            {"threads", machine.num_threads},
            {"bandwidth_bytes_s", machine.read_bytes_per_s},
            {"bf16_flops_s", machine.dot_flops_per_s},
            {"dot_instruction", machine.dot_instruction},
            {"bandwidth_bytes_s_one_thread", machine.read_bytes_per_s_one_thread},
            {"bf16_flops_s_one_thread", machine.dot_flops_per_s_one_thread}};
}

// Who, where and with what, on two lines that each begin with `mark`.
std::string heading(const BenchReport& report, const char* mark) {
    const MachineProbe& m = report.machine;
    return fmt::format(
        "{0}{1}: impl {2}, numerics {3}, commit {4}\n"
        "{0}{5}: {6} threads, {7:.1f} GB/s, {8:.0f} GFLOP/s ({9})\n",
        mark, report.model, report.impl, report.numerics, BALEEN_COMMIT, m.cpu_model, m.num_threads,
        m.read_bytes_per_s / 1e9, m.dot_flops_per_s / 1e9, m.dot_instruction);
}

}  // namespace

Spread Spread::of(std::vector<double> values) {
    CHECK(!values.empty());
    std::ranges::sort(values);
    const size_t n = values.size();
    return {.median = (values[(n - 1) / 2] + values[n / 2]) / 2,
            .min = values.front(),
            .max = values.back()};
}

std::string BenchReport::json() const {
    Json list = Json::array();
    for (const BenchRow& row : rows) list.push_back(row_json(row));
    return dump_json(Json{{"machine", machine_json(machine)},
                          {"commit", BALEEN_COMMIT},
                          {"model", model},
                          {"impl", impl},
                          {"numerics", numerics},
                          {"rows", list}},
                     2) +
           "\n";
}

std::string BenchReport::csv() const {
    std::string names;
    std::string lines;
    for (const BenchRow& row : rows) {
        const Json fields = row_json(row);
        names.clear();
        for (const auto& [name, value] : fields.items()) {
            if (!names.empty()) {
                names += ',';
                lines += ',';
            }
            names += name;
            lines += value.is_string() ? value.get<std::string>() : dump_json(value);
        }
        lines += '\n';
    }
    return fmt::format("{}{}\n{}", heading(*this, "# "), names, lines);
}

std::string BenchReport::table() const {
    std::string text = heading(*this, "");
    text += fmt::format("\n{:>9} {:>14} {:>8} {:>13} {:>14} {:>10} {:>10} {:>10}  {}\n", "context",
                        "prefill tok/s", "of peak", "decode tok/s", "bytes/token", "of memory",
                        "KV", "RSS", "filled");
    for (const BenchRow& row : rows)
        text += fmt::format(
            "{:>9} {:>14.2f} {:>7.1f}% {:>13.2f} {:>14} {:>9.1f}% {:>10} {:>10}  {}\n", row.context,
            row.prefill_tok_s.median, 100 * row.prefill_flops_fraction, row.decode_tok_s.median,
            bytes_text(static_cast<uint64_t>(row.decode_bytes_per_token)),
            100 * row.bandwidth_fraction, bytes_text(row.kv_bytes), bytes_text(row.rss_bytes),
            row.filled);
    return text;
}

}  // namespace baleen::cli
