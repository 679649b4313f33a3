// baleen eval ppl: how well a model predicts a text.
#include <fmt/format.h>

#include <memory>

#include "agent/perplexity.h"
#include "base/file.h"
#include "cli/eval_options.h"
#include "cli/interrupt.h"

namespace baleen::cli {
namespace {

constexpr size_t kTextBytesMax = size_t{1} << 30;

struct PplArgs {
    EvalArgs eval;
    std::string text;
    int64_t context = 4096;
    size_t windows = 0;  // 0: all
};

std::string band_row(const agent::PerplexityBand& band) {
    return fmt::format("{:>17} {:>9} {:>9} {:>14.4f} {:>11.3f}\n",
                       fmt::format("{} to {}", band.begin, band.end - 1), band.tokens, band.bytes,
                       band.bits_per_byte(), band.perplexity());
}

std::string table(const PplArgs& args, const std::string& path,
                  const agent::PerplexityReport& report) {
    std::string out = fmt::format("{}: {}, {} windows of {} tokens\n\n", args.eval.model.directory,
                                  path, report.windows, args.context);
    out += fmt::format("{:>17} {:>9} {:>9} {:>14} {:>11}\n", "position", "tokens", "bytes",
                       "bits per byte", "perplexity");
    for (const agent::PerplexityBand& band : report.bands) out += band_row(band);
    out += band_row(report.all);
    out += fmt::format("\n{:.1f} s, {:.1f} tok/s\n", report.seconds, report.tok_s);
    return out;
}

Json band_json(const agent::PerplexityBand& band) {
    return {{"begin", band.begin},
            {"end", band.end},
            {"tokens", band.tokens},
            {"bytes", band.bytes},
            {"bits_per_byte", finite_json(band.bits_per_byte())},
            {"perplexity", finite_json(band.perplexity())}};
}

Json report_json(const PplArgs& args, const std::string& path,
                 const agent::PerplexityReport& report) {
    Json json = {{"eval", "ppl"},
                 {"model", args.eval.model.directory},
                 {"numerics", args.eval.model.numerics},
                 {"text", path},
                 {"context", args.context},
                 {"windows", report.windows},
                 {"tokens", report.all.tokens},
                 {"bytes", report.all.bytes},
                 {"bits_per_byte", finite_json(report.all.bits_per_byte())},
                 {"perplexity", finite_json(report.all.perplexity())},
                 {"positions", Json::array()},
                 {"tok_s", report.tok_s},
                 {"seconds", report.seconds}};
    for (const agent::PerplexityBand& band : report.bands)
        json["positions"].push_back(band_json(band));
    return json;
}

Result<int> run(PplArgs args) {
    TRY(args.eval.model.choose());
    const std::string path = args.eval.data_path(args.text, "text.txt");
    const std::string text = TRY(read_file(path, kTextBytesMax));
    const Tokenizer tokenizer = TRY(Tokenizer::load(args.eval.model.directory));
    const auto engine =
        TRY(Engine::load(args.eval.model.directory, TRY(args.eval.model.engine_options())));
    watch_interrupts();
    EvalMeter meter;
    auto report = agent::evaluate_perplexity(
        *engine, tokenizer, text,
        {.context = args.context, .windows_max = args.windows == 0 ? SIZE_MAX : args.windows},
        meter.function());
    if (!report) return std::move(report).error().in(path);
    TRY(args.eval.write(report_json(args, path, *report), table(args, path, *report)));
    return kExitOk;
}

}  // namespace

void add_eval_ppl(CLI::App& eval, Chosen& chosen) {
    CLI::App* command = eval.add_subcommand("ppl", "Predict a text: bits per byte, perplexity");
    auto args = std::make_shared<PplArgs>();
    args->eval.add_to(*command);
    command
        ->add_option("--text", args->text,
                     "The text (default: eval/text.txt in the model's folder)")
        ->type_name("FILE");
    command->add_option("--context", args->context, "Tokens of a window")
        ->check(CLI::Range(int64_t{2}, int64_t{1} << 40))
        ->capture_default_str();
    command->add_option("--windows", args->windows, "Only the first N windows (0: all)")
        ->capture_default_str();
    command->footer(
        "Every token of the text is predicted once, from the tokens before it in its window.\n\n"
        "Examples:\n"
        "  baleen eval ppl\n"
        "  baleen eval ppl --model DIR --text book.txt --context 16384 --windows 8 --json -");
    command->callback([args, &chosen] { chosen.run = [args] { return run(*args); }; });
}

}  // namespace baleen::cli
