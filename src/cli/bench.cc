// baleen bench: prefill and decode rates at stated contexts, beside what the machine could do.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <optional>

#include "base/json.h"
#include "base/rng.h"
#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/progress.h"
#include "cli/stdio.h"
#include "kernels/machine_probe.h"

namespace baleen::cli {
namespace {

// Longest context that --fill auto prefills for real; Flash on a desktop takes minutes for it.
constexpr int64_t kAutoPrefillMax = 4096;
// Real tokens before synthetic ones: the sliding windows and partial blocks then hold real values.
constexpr int64_t kRealTokensMin = 2 * kPageTokens;
constexpr uint64_t kTokenSeed = 1;

struct BenchArgs {
    ModelArgs model;
    std::vector<int64_t> contexts = {0, 4096, 16384, 65536};
    size_t prefill = 512;
    size_t decode = 16;
    size_t repeat = 3;
    std::string fill = "auto";
    bool json = false;
    bool csv = false;
};

std::vector<TokenId> random_tokens(Rng& rng, size_t count, size_t vocab) {
    std::vector<TokenId> tokens(count);
    for (TokenId& token : tokens) token = static_cast<TokenId>(rng.next_below(vocab));
    return tokens;
}

// MemAvailable of /proc/meminfo; SIZE_MAX without one.
size_t available_memory_bytes() {
    std::ifstream file("/proc/meminfo");
    std::string word;
    size_t kib;
    while (file >> word)
        if (word == "MemAvailable:" && file >> kib) return kib * 1024;
    return SIZE_MAX;
}

// VmRSS of /proc/self/status; 0 without one.
size_t resident_bytes() {
    std::ifstream file("/proc/self/status");
    std::string word;
    size_t kib;
    while (file >> word)
        if (word == "VmRSS:" && file >> kib) return kib * 1024;
    return 0;
}

Result<void> check_interrupt() {
    if (interrupted()) return make_error(ErrorCode::kCancelled, "interrupted");
    return {};
}

// One engine's measurements, from the shallowest context to the deepest in one session.
class Bench {
  public:
    Bench(Engine& engine, const BenchArgs& args, const MachineProbe& machine)
        : engine_(engine),
          args_(args),
          machine_(machine),
          session_(engine.new_session()),
          rng_(kTokenSeed),
          prefill_(random_tokens(rng_, args.prefill, engine.vocab_size())),
          decode_(random_tokens(rng_, args.decode, engine.vocab_size())) {}

    // Contexts come in ascending order.
    Result<BenchRow> measure(int64_t context) {
        TRY(fill(context));
        const Snapshot start = session_.snapshot();
        BenchRow row{.context = context, .kv_bytes = session_.bytes(), .filled = filled_};
        const OpCounts prefill = TRY(count(start, [&] { return run_prefill(); }));
        const OpCounts decode = TRY(count(start, [&] { return run_decode(); }));
        std::vector<double> prefill_rates;
        std::vector<double> decode_rates;
        for (size_t i = 0; i < args_.repeat; ++i) {
            prefill_rates.push_back(static_cast<double>(args_.prefill) /
                                    TRY(seconds(start, [&] { return run_prefill(); })));
            decode_rates.push_back(static_cast<double>(args_.decode) /
                                   TRY(seconds(start, [&] { return run_decode(); })));
        }
        session_.restore(start);
        row.prefill_tok_s = Spread::of(prefill_rates);
        row.decode_tok_s = Spread::of(decode_rates);
        row.decode_bytes_per_token = static_cast<double>(decode.weight_bytes + decode.kv_bytes) /
                                     static_cast<double>(args_.decode);
        row.bandwidth_fraction =
            row.decode_bytes_per_token * row.decode_tok_s.median / machine_.read_bytes_per_s;
        const uint64_t multiply_adds = prefill.quantised_linear + prefill.bf16_linear +
                                       prefill.f32_linear + prefill.index_score +
                                       prefill.core_attention;
        row.prefill_flops_fraction = 2 * static_cast<double>(multiply_adds) /
                                     static_cast<double>(args_.prefill) * row.prefill_tok_s.median /
                                     machine_.dot_flops_per_s;
        row.rss_bytes = resident_bytes();
        return row;
    }

  private:
    Result<void> fill(int64_t context) {
        const bool real =
            args_.fill == "prefill" || (args_.fill == "auto" && context <= kAutoPrefillMax);
        const int64_t until = real ? context : std::min(context, kRealTokensMin);
        if (until > session_.length()) {
            Progress progress(fmt::format("filling to {}", until), Progress::Unit::kTokens);
            const std::vector<TokenId> tokens = random_tokens(
                rng_, static_cast<size_t>(until - session_.length()), engine_.vocab_size());
            TRY(session_.extend(tokens, [&](size_t done, size_t total) {
                progress.update(done, total);
                return !interrupted();
            }));
        }
        if (context == session_.length()) return {};
        filled_ = "synthetic";
        return session_.fill_synthetic(context, kTokenSeed);
    }

    Result<void> run_prefill() {
        return session_.extend(prefill_, [](size_t, size_t) { return !interrupted(); });
    }

    Result<void> run_decode() {
        for (const TokenId token : decode_) {
            TRY(check_interrupt());
            TRY(session_.extend({&token, 1}));
        }
        return {};
    }

    // What a run of the work costs: the warm-up, as counting takes time of its own.
    template <typename Work>
    Result<OpCounts> count(const Snapshot& start, const Work& work) {
        OpCounts counts;
        session_.restore(start);
        engine_.model().set_op_counts(&counts);
        const Result<void> done = work();
        engine_.model().set_op_counts(nullptr);
        if (!done) return done.error();
        return counts;
    }

    template <typename Work>
    Result<double> seconds(const Snapshot& start, const Work& work) {
        TRY(check_interrupt());
        session_.restore(start);
        const auto begin = std::chrono::steady_clock::now();
        TRY(work());
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }

    Engine& engine_;
    const BenchArgs& args_;
    const MachineProbe& machine_;
    Session session_;
    Rng rng_;
    std::vector<TokenId> prefill_;
    std::vector<TokenId> decode_;
    const char* filled_ = "prefill";
};

Result<void> check_contexts(const BenchArgs& args, const Engine& engine) {
    const auto measured = static_cast<int64_t>(std::max(args.prefill, args.decode));
    const int64_t allowed = engine.config().max_position_embeddings - measured;
    const int64_t deepest = args.contexts.back();
    if (deepest > allowed)
        return make_error(ErrorCode::kInvalidArgument,
                          "--contexts {}: {} more tokens are measured there, and the model has {}: "
                          "allowed 0 to {}",
                          deepest, measured, engine.config().max_position_embeddings, allowed);
    return {};
}

void warn_of_memory(const BenchArgs& args, Engine& engine) {
    const size_t kv = engine.model().kv_layout()->session_bytes(args.contexts.back() +
                                                                static_cast<int64_t>(args.prefill));
    const uint64_t needed = engine.model().weights().bytes + kv;
    const uint64_t available = available_memory_bytes();
    if (needed > available)
        fmt::print(stderr,
                   "warning: weights and KV take {}, {} of memory are available: weights are read "
                   "from disk again and again, and the rates say more of the disk\n",
                   bytes_text(needed), bytes_text(available));
}

Result<int> run(BenchArgs args) {
    if (args.json && args.csv)
        return make_error(ErrorCode::kInvalidArgument, "give one of --json and --csv");
    TRY(args.model.choose());
    std::ranges::sort(args.contexts);
    args.contexts.erase(std::unique(args.contexts.begin(), args.contexts.end()),
                        args.contexts.end());
    EngineOptions options = TRY(args.model.engine_options());
    const auto engine = TRY(Engine::load(args.model.directory, options));
    TRY(check_contexts(args, *engine));
    warn_of_memory(args, *engine);

    BenchReport report{.model = args.model.directory,
                       .impl = impl_name(options.model.impl),
                       .numerics = args.model.numerics};
    {
        ThreadPool pool(options.num_threads);
        report.machine = TRY(probe_machine(pool));
    }
    watch_interrupts();
    Bench bench(*engine, args, report.machine);
    {
        Progress progress("contexts measured", Progress::Unit::kSteps);
        for (const int64_t context : args.contexts) {
            progress.update(report.rows.size(), args.contexts.size());
            report.rows.push_back(TRY(bench.measure(context)));
        }
        progress.update(report.rows.size(), args.contexts.size());
    }
    TRY(write_stdout(args.json ? report.json() : args.csv ? report.csv() : report.table()));
    return kExitOk;
}

}  // namespace

void add_bench(CLI::App& app, Chosen& chosen) {
    CLI::App* command =
        app.add_subcommand("bench", "Measure prefill and decode at several contexts");
    auto args = std::make_shared<BenchArgs>();
    args->model.add_to(*command);
    command
        ->add_option("--contexts", args->contexts,
                     "Tokens before what is measured, e.g. 0,4096; measured in ascending order")
        ->delimiter(',')
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
        ->capture_default_str();
    command->add_option("--prefill", args->prefill, "Tokens of each prefill measured")
        ->check(CLI::Range(1, 1 << 20))
        ->capture_default_str();
    command->add_option("--decode", args->decode, "Tokens of each decode measured")
        ->check(CLI::Range(1, 1 << 20))
        ->capture_default_str();
    command->add_option("--repeat", args->repeat, "Times each is measured; the median counts")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    command
        ->add_option("--fill", args->fill,
                     "How a context comes about: prefill (real tokens), synthetic (random but "
                     "well-formed KV entries after a few hundred real tokens), auto (prefill up to "
                     "4096, then synthetic)")
        ->check(CLI::IsMember({"auto", "prefill", "synthetic"}))
        ->capture_default_str();
    command->add_flag("--json", args->json, "Print one JSON object");
    command->add_flag("--csv", args->csv, "Print comma-separated rows after # lines");
    command->footer(
        "Tokens are random with a fixed seed. Fractions are of the machine's own measured memory\n"
        "bandwidth and dot-product rate with the same threads: bytes of weights and KV read per\n"
        "token, and 2 FLOPs per multiply-add.\n\n"
        "Examples:\n"
        "  baleen bench --model DIR --contexts 0,4096,16384,65536\n"
        "  baleen bench --contexts 0 --threads 8 --repeat 5 --json\n"
        "  baleen bench --model DIR --contexts 1000000 --fill synthetic --csv");
    command->callback([args, &chosen] { chosen.run = [args] { return run(*args); }; });
}

}  // namespace baleen::cli
