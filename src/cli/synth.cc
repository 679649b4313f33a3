// baleen synth: checkpoints with random weights, to run and measure the engine without a download.
#include "model/synth.h"

#include <memory>
#include <string>

#include "base/file.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "model/synth_presets.h"

namespace baleen::cli {
namespace {

struct SynthFlags {
    std::string out;
    std::string config_path;
    std::string preset;
    int64_t num_layers = 0;   // 0: as configured
    int64_t num_experts = 0;  // 0: as configured
    uint64_t seed = 1;
    bool force = false;
};

Result<Json> read_config(const std::string& path) {
    const std::string text = TRY(read_file(path, kConfigBytesMax));
    auto json = parse_json(text);
    if (!json) return std::move(json).error().in(path);
    return json;
}

Result<int> run_synth(const SynthFlags& flags) {
    const bool is_tiny = flags.preset == "tiny";
    ConfigOverrides overrides;
    if (flags.num_layers != 0) overrides.num_layers = flags.num_layers;
    if (flags.num_experts != 0) overrides.num_experts = flags.num_experts;
    if (flags.preset == "flash-slice") {
        overrides.num_layers = overrides.num_layers.value_or(kFlashSliceLayers);
        overrides.num_experts = overrides.num_experts.value_or(kFlashSliceExperts);
    }
    Json base = !flags.config_path.empty()
                    ? TRY(read_config(flags.config_path))
                    : preset_config(is_tiny ? SynthPreset::kTiny : SynthPreset::kFlash);
    const Json config = TRY(with_overrides(std::move(base), overrides));

    Progress progress("writing " + flags.out);
    SynthOptions options{
        .directory = flags.out,
        .seed = flags.seed,
        .overwrite = flags.force ? Overwrite::kReplace : Overwrite::kRefuse,
        .tokenizer = std::nullopt,
        .progress = [&](uint64_t done, uint64_t total) { progress.update(done, total); }};
    if (is_tiny) options.tokenizer = byte_tokenizer(config["vocab_size"].get<int64_t>());
    ThreadPool pool(available_processors());
    const SynthSummary summary = TRY(write_synthetic_checkpoint(config, options, pool));
    fmt::print("{}: {} tensors, {} bytes, {} shards\n", flags.out, summary.num_tensors,
               summary.bytes, summary.num_shards);
    return kExitOk;
}

}  // namespace

void add_synth(CLI::App& app, Chosen& chosen) {
    auto flags = std::make_shared<SynthFlags>();
    CLI::App* command = app.add_subcommand("synth", "Write a checkpoint with random weights.");
    command->add_option("--out", flags->out, "folder to write; must be empty or absent")
        ->required();
    auto* source = command->add_option_group("source", "what to write");
    source->add_option("--config", flags->config_path, "a config.json");
    source
        ->add_option("--preset", flags->preset,
                     "tiny: every layer kind, a few MB, with a tokenizer; "
                     "flash-slice: V4-Flash, 6 layers of 64 experts, about 9 GB")
        ->check(CLI::IsMember({"tiny", "flash-slice"}));
    source->require_option(1);
    command->add_option("--layers", flags->num_layers, "keep only the first N layers")
        ->check(CLI::Range(int64_t{1}, int64_t{1024}));
    command->add_option("--experts", flags->num_experts, "routed experts per layer")
        ->check(CLI::Range(int64_t{1}, int64_t{4096}));
    command->add_option("--seed", flags->seed, "seed of all weights")->capture_default_str();
    command->add_flag("--force", flags->force,
                      "write into a folder with files; its *.safetensors are removed first");
    command->footer(
        "Examples:\n"
        "  baleen synth --out /tmp/tiny --preset tiny\n"
        "  baleen synth --out /data/slice --preset flash-slice --layers 8 --experts 32\n"
        "  baleen synth --out /data/pro-2 --config config.json --layers 2 --seed 7");
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_synth(*flags); }; });
}

}  // namespace baleen::cli
