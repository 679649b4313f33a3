// baleen inspect: what a checkpoint or a config.json is, whether it is whole, what it needs.
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/stdio.h"
#include "model/checkpoint_report.h"
#include "model/kv_spec.h"
#include "model/presets.h"
#include "model/weights.h"

namespace baleen::cli {
namespace {

constexpr int64_t kContextMax = int64_t{1} << 30;

struct InspectFlags {
    std::string directory;
    std::string config_path;
    int64_t context = -1;  // -1: the config's own maximum
    bool json = false;
    bool verify = false;
};

// Everything inspect has to say; the config alone fills all but the last three.
struct Inspection {
    Config config;
    InventoryTotal expected;  // the complete checkpoint
    std::array<InventoryTotal, kNumTensorGroups> groups{};
    int64_t context = 0;
    bool has_files = false;
    InventoryTotal found;
    size_t num_shards = 0;
    CheckpointReport report;
};

bool same_backbone(const Config& a, const Config& b) {
    const auto geometry = [](const Config& c) {
        return std::array{c.hidden_size,      c.num_hidden_layers,     c.num_attention_heads,
                          c.head_dim,         c.q_lora_rank,           c.o_groups,
                          c.n_routed_experts, c.moe_intermediate_size, c.vocab_size};
    };
    const auto layers = static_cast<size_t>(a.num_hidden_layers);
    return geometry(a) == geometry(b) &&
           std::equal(a.compress_ratios.begin(),
                      a.compress_ratios.begin() + static_cast<std::ptrdiff_t>(layers),
                      b.compress_ratios.begin());
}

// The release whose shapes these are (spec sections 2 and 13.1).
std::string kind_of(const Config& config) {
    const bool is_flash = same_backbone(config, flash_config());
    if (!is_flash && !same_backbone(config, pro_config())) return "DeepSeek-V4, custom shape";
    const std::string name = is_flash ? "DeepSeek-V4-Flash" : "DeepSeek-V4-Pro";
    if (config.dspark) return name + (is_flash ? "-0731 (or -DSpark)" : "-0813 (or -DSpark)");
    return config.expert_dtype == ExpertDType::kFp8 ? name + "-Base" : name;
}

Json memory_json(const Inspection& in) {
    const KvLayout layout(kv_spec(in.config, KvEncoding::kPacked));
    const uint64_t weights = in.has_files ? in.found.bytes : in.expected.bytes;
    const uint64_t session = layout.session_bytes(in.context);
    return {{"context", in.context},
            {"weights_bytes", weights},
            {"kv_bytes_per_token", static_cast<double>(layout.page_bytes) / kPageTokens},
            {"kv_fixed_bytes", layout.hot_bytes()},
            {"kv_bytes", session},
            {"total_bytes", weights + session}};
}

std::string inspection_json(const Inspection& in) {
    if (!in.has_files)
        return dump_json({{"tensors", in.expected.num_tensors}, {"bytes", in.expected.bytes}}) +
               "\n";
    Json groups = Json::object();
    for (size_t g = 0; g < kNumTensorGroups; ++g)
        groups[std::string(group_name(static_cast<TensorGroup>(g)))] = {
            {"tensors", in.groups[g].num_tensors}, {"bytes", in.groups[g].bytes}};
    return dump_json({{"kind", kind_of(in.config)},
                      {"tensors", in.found.num_tensors},
                      {"bytes", in.found.bytes},
                      {"expected_tensors", in.expected.num_tensors},
                      {"expected_bytes", in.expected.bytes},
                      {"shards", in.num_shards},
                      {"groups", std::move(groups)},
                      {"memory", memory_json(in)},
                      {"problems", in.report.problems},
                      {"unused", in.report.unused}},
                     1) +
           "\n";
}

std::string inspection_text(const Inspection& in) {
    const Config& c = in.config;
    std::string text = fmt::format(
        "{}\n  {} layers ({} hash-routed), hidden size {}, {} heads, {} experts ({} per token, "
        "{}), "
        "{}\n\n",
        kind_of(c), c.num_hidden_layers, c.num_hash_layers, c.hidden_size, c.num_attention_heads,
        c.n_routed_experts, c.num_experts_per_tok,
        c.expert_dtype == ExpertDType::kFp4 ? "FP4" : "FP8",
        c.dspark ? fmt::format("{} DSpark stages", c.num_mtp_stages())
                 : fmt::format("{} MTP blocks", c.num_mtp_stages()));
    text += fmt::format("  {:<20}{:>9}{:>20}\n", "", "tensors", "bytes");
    const auto row = [&](std::string_view name, const InventoryTotal& total) {
        text += fmt::format("  {:<20}{:>9}{:>20}  {:>9}\n", name, total.num_tensors, total.bytes,
                            bytes_text(total.bytes));
    };
    for (size_t g = 0; g < kNumTensorGroups; ++g)
        row(group_name(static_cast<TensorGroup>(g)), in.groups[g]);
    row(in.has_files ? "in the checkpoint" : "complete checkpoint",
        in.has_files ? in.found : in.expected);
    if (in.has_files) {
        row("expected", in.expected);
        text += fmt::format("  {} shards\n", in.num_shards);
    }
    const Json memory = memory_json(in);
    text += fmt::format(
        "\nMemory at a context of {} tokens\n"
        "  weights, mapped   {:>9}\n"
        "  KV of one session {:>9}  ({:.1f} B per token and {} fixed)\n",
        in.context, bytes_text(memory["weights_bytes"].get<uint64_t>()),
        bytes_text(memory["kv_bytes"].get<uint64_t>()), memory["kv_bytes_per_token"].get<double>(),
        bytes_text(memory["kv_fixed_bytes"].get<uint64_t>()));
    const auto list = [&](const char* title, const std::vector<std::string>& lines) {
        if (lines.empty()) return;
        text += fmt::format("\n{}: {}\n", title, lines.size());
        for (const std::string& line : lines) text += "  " + line + "\n";
    };
    list("Problems", in.report.problems);
    list("Unused tensors", in.report.unused);
    return text;
}

// Structure first; values only when they can be trusted to be where they should.
Result<void> read_checkpoint(const InspectFlags& flags, Inspection& in) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(flags.directory, ignored))
        return make_error(ErrorCode::kNotFound, "{}: not a folder", flags.directory);
    in.config = TRY(Config::load(flags.directory + "/config.json"));
    const Checkpoint checkpoint = TRY(Checkpoint::open(flags.directory));
    resolve_expert_dtype(checkpoint, in.config);
    in.has_files = true;
    in.found = {checkpoint.tensors().size(), checkpoint.bytes()};
    in.num_shards = checkpoint.shards().size();
    in.report = check_checkpoint(checkpoint, in.config);
    in.groups = in.report.groups;
    if (!in.report.problems.empty()) return {};
    // What only binding finds: block scales and expert ids out of range.
    if (auto weights = Weights::load(flags.directory); !weights)
        in.report.problems.push_back(weights.error().message);
    if (!flags.verify) return {};
    ThreadPool pool(available_processors());
    Progress progress("reading all values");
    for (std::string& problem :
         check_values(checkpoint, in.config, pool,
                      [&](uint64_t done, uint64_t total) { progress.update(done, total); }))
        in.report.problems.push_back(std::move(problem));
    return {};
}

Result<int> run_inspect(const InspectFlags& flags) {
    Inspection in;
    if (!flags.directory.empty())
        TRY(read_checkpoint(flags, in));
    else
        in.config = TRY(Config::load(flags.config_path));
    in.context = flags.context >= 0 ? flags.context : in.config.max_position_embeddings;
    visit_inventory(in.config, [&](const TensorSpec& spec) {
        ++in.expected.num_tensors;
        in.expected.bytes += spec.bytes();
        if (in.has_files) return;
        InventoryTotal& group = in.groups[static_cast<size_t>(spec.group)];
        ++group.num_tensors;
        group.bytes += spec.bytes();
    });
    TRY(write_stdout(flags.json ? inspection_json(in) : inspection_text(in)));
    if (in.report.problems.empty()) return kExitOk;
    return make_error(ErrorCode::kCorrupt, "{}: the checkpoint has {} problems, listed on stdout",
                      flags.directory, in.report.problems.size());
}

}  // namespace

void add_inspect(CLI::App& app, Chosen& chosen) {
    auto flags = std::make_shared<InspectFlags>();
    CLI::App* command =
        app.add_subcommand("inspect", "Tell what a checkpoint is and if it is whole.");
    auto* source = command->add_option_group("source", "what to look at");
    source->add_option("DIR", flags->directory, "a checkpoint folder");
    source->add_option("--config", flags->config_path,
                       "a config.json alone: the complete checkpoint it describes. Without "
                       "expert_dtype in it, experts count as FP4");
    source->require_option(1);
    command
        ->add_option("--context", flags->context,
                     "tokens of context to size memory for (default: the config's maximum)")
        ->check(CLI::Range(int64_t{0}, kContextMax));
    command->add_flag("--verify", flags->verify, "also read every value and look for NaN");
    command->add_flag("--json", flags->json, "JSON; with --config only tensors and bytes");
    command->footer(
        "Exit status 2 if the checkpoint has problems.\n"
        "Examples:\n"
        "  baleen inspect /models/DeepSeek-V4-Flash --context 131072\n"
        "  baleen inspect /models/DeepSeek-V4-Flash --verify --json\n"
        "  baleen inspect --config config.json --json");
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_inspect(*flags); }; });
}

}  // namespace baleen::cli
