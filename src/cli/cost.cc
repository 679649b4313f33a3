// `baleen cost`: FLOPs per token and KV bytes by context (spec section 12), without a checkpoint.
#include "model/cost.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/cost_svg.h"
#include "cli/stdio.h"
#include "model/config.h"
#include "model/presets.h"

namespace baleen::cli {
namespace {

constexpr int64_t kContextMax = 4194304;  // four times what the models are published for
constexpr size_t kContextsMax = 1000;
constexpr size_t kConfigsMax = 3;         // the picture has seven colours, four are taken
constexpr int64_t kSvgContextMin = 4096;  // a shorter axis shows only the window filling up
// The contexts of spec 12.3.
constexpr const char* kDefaultContexts = "4096,32768,131072,262144,524288,1000000,1048576";
constexpr int64_t kDefaultSvgContext = 1000000;  // the point for which the report prints ratios

enum class Format { kTable, kJson, kCsv };

struct Options {
    std::string contexts;  // comma-separated; empty: kDefaultContexts
    std::vector<std::string> config_paths;
    bool json = false;
    bool csv = false;
    bool breakdown = false;
    std::string svg_path;  // empty: no picture

    Format format() const { return json ? Format::kJson : csv ? Format::kCsv : Format::kTable; }
};

// One subject at one context. Ratios are to V3.2, and to a GQA-8 cache of as many layers.
struct Row {
    int64_t context;
    const CostSubject* subject;
    std::optional<CostBreakdown> cost;  // none: the subject is a cache only
    int64_t kv_bytes;
    double flops_vs_v32;  // meaningless without cost
    double kv_vs_v32;
    double kv_vs_gqa8;

    int64_t flops() const { return cost->total().equivalent_fp8_flops(); }
};

CostSubject subject_of(std::string key, std::string title, Config config) {
    const auto shared = std::make_shared<const Config>(std::move(config));
    return {.key = std::move(key),
            .title = std::move(title),
            .num_layers = shared->num_hidden_layers,
            .decode = [shared](int64_t context) { return decode_cost(*shared, context); },
            .kv_bytes = [shared](int64_t context) { return baleen::kv_bytes(*shared, context); }};
}

// A config is named after its file, or after its folder when the file is called config.json.
std::string name_of(const std::string& path) {
    const std::filesystem::path full = std::filesystem::path(path).lexically_normal();
    if (full.stem() != "config" || !full.has_parent_path()) return full.stem().string();
    return full.parent_path().filename().string();
}

Result<std::vector<CostSubject>> subjects_of(const Options& options) {
    if (options.config_paths.size() > kConfigsMax)
        return make_error(ErrorCode::kInvalidArgument, "--config: {} files, allowed are 0 to {}",
                          options.config_paths.size(), kConfigsMax);
    std::vector<CostSubject> subjects;
    subjects.push_back(subject_of("v4-flash", "V4-Flash", flash_config()));
    subjects.push_back(subject_of("v4-pro", "V4-Pro", pro_config()));
    subjects.push_back({"v3.2", "V3.2", kV32NumLayers, v32_decode_cost, v32_kv_bytes});
    subjects.push_back({"gqa8", "GQA-8 in BF16", kV32NumLayers, {}, [](int64_t context) {
                            return gqa8_kv_bytes(kV32NumLayers, context);
                        }});
    for (const std::string& path : options.config_paths) {
        std::string name = name_of(path);
        if (std::ranges::find(subjects, name, &CostSubject::key) != subjects.end()) name = path;
        if (std::ranges::find(subjects, name, &CostSubject::key) != subjects.end())
            return make_error(ErrorCode::kInvalidArgument, "--config {}: given twice", path);
        subjects.push_back(subject_of(name, name, TRY(Config::load(path))));
    }
    return subjects;
}

Result<int64_t> parse_context(std::string_view text) {
    int64_t context = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, context);
    if (error != std::errc() || stop != end || context < 1 || context > kContextMax)
        return make_error(ErrorCode::kInvalidArgument,
                          "--context: '{}' is not a whole number of tokens from 1 to {}", text,
                          kContextMax);
    return context;
}

Result<std::vector<int64_t>> parse_contexts(std::string_view list) {
    std::vector<int64_t> contexts;
    for (size_t begin = 0; begin <= list.size();) {
        const size_t comma = std::min(list.find(',', begin), list.size());
        contexts.push_back(TRY(parse_context(list.substr(begin, comma - begin))));
        begin = comma + 1;
    }
    if (contexts.size() > kContextsMax)
        return make_error(ErrorCode::kInvalidArgument, "--context: {} values, allowed are 1 to {}",
                          contexts.size(), kContextsMax);
    return contexts;
}

Row row_of(const CostSubject& subject, int64_t context) {
    Row row{.context = context,
            .subject = &subject,
            .cost = std::nullopt,
            .kv_bytes = subject.kv_bytes(context),
            .flops_vs_v32 = 0,
            .kv_vs_v32 = 0,
            .kv_vs_gqa8 = 0};
    const auto ratio = [](int64_t part, int64_t whole) {
        return static_cast<double>(part) / static_cast<double>(whole);
    };
    if (subject.decode) {
        row.cost = subject.decode(context);
        row.flops_vs_v32 =
            ratio(row.flops(), v32_decode_cost(context).total().equivalent_fp8_flops());
    }
    row.kv_vs_v32 = ratio(row.kv_bytes, v32_kv_bytes(context));
    row.kv_vs_gqa8 = ratio(row.kv_bytes, gqa8_kv_bytes(subject.num_layers, context));
    return row;
}

// ---- JSON and CSV -----------------------------------------------------------------------------

Json breakdown_json(const CostBreakdown& cost) {
    Json json = Json::object();
    for (const auto& [name, macs] : cost.components())
        json[std::string(name)] = {
            {"flops", macs.equivalent_fp8_flops()},
            {"multiply_adds", {{"fp8", macs.fp8}, {"bf16", macs.bf16}, {"fp4", macs.fp4}}}};
    return json;
}

Json row_json(const Row& row, bool with_breakdown) {
    Json json;
    json["flops"] = row.cost ? Json(row.flops()) : Json();
    json["kv_bytes"] = row.kv_bytes;
    json["flops_vs_v32"] = row.cost ? Json(row.flops_vs_v32) : Json();
    json["kv_vs_v32"] = row.kv_vs_v32;
    json["kv_vs_gqa8"] = row.kv_vs_gqa8;
    if (with_breakdown && row.cost) json["breakdown"] = breakdown_json(*row.cost);
    return json;
}

// One object for one context, a list of them for several.
std::string json_text(const std::vector<int64_t>& contexts, const std::vector<Row>& rows,
                      bool with_breakdown) {
    Json list = Json::array();
    const size_t rows_per_context = rows.size() / contexts.size();
    for (size_t i = 0; i < contexts.size(); ++i) {
        Json models = Json::object();
        for (size_t j = 0; j < rows_per_context; ++j) {
            const Row& row = rows[i * rows_per_context + j];
            models[row.subject->key] = row_json(row, with_breakdown);
        }
        list.push_back({{"context", contexts[i]}, {"models", std::move(models)}});
    }
    return dump_json(list.size() == 1 ? list[0] : list, 2) + "\n";
}

// A field of RFC 4180: quoted when it has to be.
std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + '"';
}

std::string csv_text(const std::vector<Row>& rows, bool with_breakdown) {
    std::string text = "context,model,flops,kv_bytes,flops_vs_v32,kv_vs_v32,kv_vs_gqa8";
    if (with_breakdown)
        for (const auto& [name, macs] : CostBreakdown{}.components())
            text += fmt::format(",{}_flops", name);
    text += '\n';
    for (const Row& row : rows) {
        text += fmt::format("{},{},{},{},{},{},{}", row.context, csv_field(row.subject->key),
                            row.cost ? fmt::to_string(row.flops()) : "", row.kv_bytes,
                            row.cost ? fmt::to_string(row.flops_vs_v32) : "", row.kv_vs_v32,
                            row.kv_vs_gqa8);
        if (with_breakdown)
            for (const auto& [name, macs] : row.cost.value_or(CostBreakdown{}).components())
                text += row.cost ? fmt::format(",{}", macs.equivalent_fp8_flops()) : ",";
        text += '\n';
    }
    return text;
}

// ---- the table --------------------------------------------------------------------------------

// 1048576 -> 1,048,576
std::string grouped(int64_t value) {
    std::string digits = fmt::to_string(value);
    for (size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
    return digits;
}

std::string giga(int64_t flops) {
    return fmt::format("{:.1f}", static_cast<double>(flops) / 1e9);
}

std::string percent(double ratio) {
    return fmt::format("{:.1f} %", 100 * ratio);
}

std::string table_row(const Row& row, size_t name_width, bool first_of_context) {
    const std::string flops = row.cost ? giga(row.flops()) : "-";
    const std::string flops_vs_v32 = row.cost ? percent(row.flops_vs_v32) : "-";
    const std::string mebibytes =
        fmt::format("{:.1f}", static_cast<double>(row.kv_bytes) / 1048576);
    return fmt::format("{:>9}  {:<{}}  {:>11}  {:>8}  {:>11}  {:>8}  {:>8}\n",
                       first_of_context ? grouped(row.context) : "", row.subject->key, name_width,
                       flops, flops_vs_v32, mebibytes, percent(row.kv_vs_v32),
                       percent(row.kv_vs_gqa8));
}

std::string breakdown_rows(const CostBreakdown& cost, size_t name_width) {
    std::string text;
    for (const auto& [name, macs] : cost.components())
        if (macs.total() != 0)
            text += fmt::format("{:>9}  {:<{}}  {:>11}\n", "", fmt::format("  {}", name),
                                name_width, giga(macs.equivalent_fp8_flops()));
    return text;
}

std::string table_text(const std::vector<Row>& rows, bool with_breakdown) {
    size_t name_width = with_breakdown ? 18 : 8;
    for (const Row& row : rows) name_width = std::max(name_width, row.subject->key.size());
    std::string text =
        fmt::format("{:>9}  {:<{}}  {:>11}  {:>8}  {:>11}  {:>8}  {:>8}\n", "context", "model",
                    name_width, "GFLOP/token", "of V3.2", "KV MiB", "of V3.2", "of GQA-8");
    int64_t context = 0;
    for (const Row& row : rows) {
        if (row.context != context) text += '\n';
        text += table_row(row, name_width, row.context != context);
        if (with_breakdown && row.cost) text += breakdown_rows(*row.cost, name_width);
        context = row.context;
    }
    return text +
           "\nGFLOP: 10^9 equivalent FP8 FLOPs, 2 per multiply-add (FP8 x1, BF16 x2, FP4 x FP4 "
           "x1/2)."
           "\nGQA-8: 8 KV heads of 128 in BF16, with the model's own number of layers (V3.2: "
           "61).\n";
}

// ---- the command ------------------------------------------------------------------------------

std::string render(const Options& options, const std::vector<int64_t>& contexts,
                   const std::vector<Row>& rows) {
    switch (options.format()) {
        case Format::kJson: return json_text(contexts, rows, options.breakdown);
        case Format::kCsv: return csv_text(rows, options.breakdown);
        case Format::kTable: return table_text(rows, options.breakdown);
    }
    return {};
}

Result<void> write_svg(const Options& options, const std::vector<CostSubject>& subjects,
                       const std::vector<int64_t>& contexts) {
    const int64_t largest =
        options.contexts.empty() ? kDefaultSvgContext : std::ranges::max(contexts);
    const auto v32 = std::ranges::find(subjects, "v3.2", &CostSubject::key);
    return write_file_atomically(options.svg_path,
                                 cost_svg(subjects, *v32, std::max(largest, kSvgContextMin)));
}

Result<int> run_cost(const Options& options) {
    const std::vector<int64_t> contexts =
        TRY(parse_contexts(options.contexts.empty() ? kDefaultContexts : options.contexts));
    const std::vector<CostSubject> subjects = TRY(subjects_of(options));
    std::vector<Row> rows;
    for (int64_t context : contexts)
        for (const CostSubject& subject : subjects) rows.push_back(row_of(subject, context));
    if (!options.svg_path.empty()) TRY(write_svg(options, subjects, contexts));
    TRY(write_stdout(render(options, contexts, rows)));
    return kExitOk;
}

}  // namespace

void add_cost(CLI::App& app, Chosen& chosen) {
    CLI::App* command = app.add_subcommand(
        "cost", "FLOPs per token and KV cache bytes by context, beside V3.2 and GQA-8");
    const auto options = std::make_shared<Options>();
    command->add_option("--context", options->contexts,
                        fmt::format("Tokens in context, 1 to {}; several with commas (default {})",
                                    kContextMax, kDefaultContexts));
    command
        ->add_option("--config", options->config_paths,
                     fmt::format("Compare this config.json too; up to {} times", kConfigsMax))
        ->allow_extra_args(false);
    CLI::Option* json = command->add_flag(
        "--json", options->json, "JSON: an object, or a list of them for several contexts");
    command->add_flag("--csv", options->csv, "CSV: one line per context and model")->excludes(json);
    command->add_flag("--breakdown", options->breakdown, "FLOPs by component too");
    command->add_option("--svg", options->svg_path,
                        fmt::format("Also draw both curves, from 0 to the largest --context (at "
                                    "least {}; default {}), to this file",
                                    kSvgContextMin, kDefaultSvgContext));
    command->footer(
        "Examples:\n"
        "  baleen cost\n"
        "  baleen cost --context 1000000 --breakdown\n"
        "  baleen cost --context 131072,1000000 --config DIR/config.json --json\n"
        "  baleen cost --svg cost.svg");
    command->callback(
        [options, &chosen] { chosen.run = [options] { return run_cost(*options); }; });
}

}  // namespace baleen::cli
