#include "cli/model_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "cli/default_model.h"

namespace baleen::cli {

void ModelArgs::add_to(CLI::App& command, Without without) {
    const bool has_default = without == Without::kDefaultModel;
    command
        .add_option("--model", directory,
                    has_default
                        ? "Checkpoint folder: config.json and safetensors (default: the pocket "
                          "model that comes with the program, or $BALEEN_MODEL)"
                        : "Checkpoint folder: config.json and safetensors")
        ->type_name("DIR")
        ->required(!has_default);
    command
        .add_option("--numerics", numerics,
                    "official: bf16 with the checkpoint's FP8/FP4 quantisation points; exact: f32 "
                    "throughout, for comparisons")
        ->check(CLI::IsMember({"official", "exact"}))
        ->capture_default_str();
    command
        .add_option("--impl", impl, "Kernels: auto (best for this processor), ref, simd, avx512")
        ->check(CLI::IsMember({"auto", "ref", "simd", "avx512"}))
        ->capture_default_str();
    command.add_option("--threads", threads, "Threads (default: all processors)")
        ->check(CLI::Range(1, 1024));
}

Result<void> ModelArgs::choose() {
    if (!directory.empty()) return {};
    const DefaultModel found = TRY(find_default_model());
    directory = found.directory;
    fmt::print(stderr, "model: {} ({})\n", found.directory, found.origin);
    return {};
}

Result<EngineOptions> ModelArgs::engine_options() const {
    EngineOptions options;
    options.num_threads = threads == 0 ? available_processors() : threads;
    options.model.numerics = numerics == "exact" ? Numerics::kExact : Numerics::kOfficial;
    if (impl == "auto") return options;
    for (Impl candidate : available_impls())
        if (impl_name(candidate) == impl) {
            options.model.impl = candidate;
            return options;
        }
    return make_error(ErrorCode::kUnsupported,
                      "--impl {}: this processor lacks the instructions, allowed here: auto, ref, "
                      "simd",
                      impl);
}

}  // namespace baleen::cli
