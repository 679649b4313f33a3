// baleen eval recall: facts found again in long prompts.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "agent/recall.h"
#include "base/file.h"
#include "cli/eval_options.h"
#include "cli/interrupt.h"
#include "cli/recall_svg.h"

namespace baleen::cli {
namespace {

using agent::FactValues;
using agent::HaystackPlace;
using agent::RecallRow;

constexpr size_t kTextBytesMax = size_t{1} << 30;

const std::map<std::string, FactValues> kValues = {
    {"words", FactValues::kWords}, {"digits", FactValues::kDigits}, {"both", FactValues::kBoth}};
const std::map<std::string, HaystackPlace> kPlaces = {{"system", HaystackPlace::kSystem},
                                                      {"user", HaystackPlace::kUser}};
const std::map<std::string, Ablation> kAblations = {{"none", Ablation::kNone},
                                                    {"random", Ablation::kRandomEntries},
                                                    {"window", Ablation::kWindowOnly},
                                                    {"no-hca", Ablation::kNoHca}};

struct RecallArgs {
    EvalArgs eval;
    std::vector<uint64_t> lengths = {4096, 65536};
    size_t questions = 100;
    uint64_t seed = 1;
    double facts_per_1k = 2.2;
    std::string values = "words";
    std::string place = "system";
    std::string ablate = "none";
    std::string text;
    std::string svg;
};

std::string caption(const RecallArgs& args) {
    std::string line = fmt::format(
        "{}: {} facts per 1,024 tokens, values of {}, seed {}", args.eval.model.directory,
        args.facts_per_1k, args.values == "both" ? "words or digits" : args.values, args.seed);
    if (args.ablate != "none") line += fmt::format(", ablation {}", args.ablate);
    return line;
}

std::string table(const RecallArgs& args, const std::vector<RecallRow>& rows) {
    std::string out = caption(args) + "\n\n";
    out += fmt::format("{:>9} {:>8} {:>5} {:>6} {:>5}  {:<24} {:<24} {:>9} {:>8} {:>9} {:>8}\n",
                       "length", "blocks", "top-k", "facts", "asked", "exact (95 % interval)",
                       "first token", "prefill/s", "decode/s", "KV", "seconds");
    for (const RecallRow& row : rows)
        out += fmt::format(
            "{:>9} {:>8} {:>5} {:>6} {:>5}  {:<24} {:<24} {:>9.1f} {:>8.1f} {:>9} {:>8.1f}\n",
            row.length, row.blocks, row.index_topk, row.facts, row.exact.trials,
            share_text(row.exact), share_text(row.first), row.prefill_tok_s, row.decode_tok_s,
            bytes_text(row.kv_bytes), row.seconds);
    out += "\nexact % by depth of the fact, in tenths from the beginning\n";
    for (const RecallRow& row : rows) {
        out += fmt::format("{:>9}", row.length);
        for (const agent::Share& depth : row.depths)
            out += depth.trials == 0 ? fmt::format(" {:>6}", "-")
                                     : fmt::format(" {:>6.1f}", 100 * depth.value());
        out += "\n";
    }
    return out;
}

Json row_json(const RecallRow& row) {
    Json depths = Json::array();
    for (size_t i = 0; i < row.depths.size(); ++i) {
        Json depth = share_json(row.depths[i]);
        depth["from"] = static_cast<double>(i) / 10;
        depths.push_back(std::move(depth));
    }
    Json answers = Json::array();
    for (const agent::RecallQuestion& question : row.questions)
        answers.push_back({{"haystack", question.haystack},
                           {"key", question.key},
                           {"depth", question.depth},
                           {"exact", question.exact},
                           {"first", question.first},
                           {"expected", question.expected},
                           {"answer", question.answer}});
    return {{"length", row.length},
            {"blocks", row.blocks},
            {"index_topk", row.index_topk},
            {"haystacks", row.haystacks},
            {"facts", row.facts},
            {"exact", share_json(row.exact)},
            {"first", share_json(row.first)},
            {"depths", std::move(depths)},
            {"prefill_tok_s", finite_json(row.prefill_tok_s)},
            {"decode_tok_s", finite_json(row.decode_tok_s)},
            {"kv_bytes", row.kv_bytes},
            {"seconds", row.seconds},
            {"answers", std::move(answers)}};
}

Json report_json(const RecallArgs& args, const std::vector<RecallRow>& rows) {
    Json json = {{"eval", "recall"},
                 {"model", args.eval.model.directory},
                 {"numerics", args.eval.model.numerics},
                 {"seed", args.seed},
                 {"facts_per_1k", args.facts_per_1k},
                 {"values", args.values},
                 {"place", args.place},
                 {"ablate", args.ablate},
                 {"rows", Json::array()}};
    for (const RecallRow& row : rows) json["rows"].push_back(row_json(row));
    return json;
}

Result<int> run(RecallArgs args) {
    TRY(args.eval.model.choose());
    std::ranges::sort(args.lengths);
    args.lengths.erase(std::unique(args.lengths.begin(), args.lengths.end()), args.lengths.end());
    const std::string path = args.eval.data_path(args.text, "text.txt");
    const std::string text = TRY(read_file(path, kTextBytesMax));
    const Tokenizer tokenizer = TRY(Tokenizer::load(args.eval.model.directory));
    auto maker = agent::HaystackMaker::create(tokenizer, text,
                                              {.facts_per_1k = args.facts_per_1k,
                                               .values = kValues.at(args.values),
                                               .place = kPlaces.at(args.place)});
    if (!maker) return std::move(maker).error().in(path);
    EngineOptions options = TRY(args.eval.model.engine_options());
    options.model.ablation = kAblations.at(args.ablate);
    const auto engine = TRY(Engine::load(args.eval.model.directory, options));
    watch_interrupts();
    std::vector<RecallRow> rows;
    {
        EvalMeter meter;
        for (const uint64_t length : args.lengths)
            rows.push_back(TRY(agent::evaluate_recall(
                *engine, tokenizer, *maker, static_cast<int64_t>(length),
                {.questions = args.questions, .seed = args.seed}, meter.function())));
    }
    if (!args.svg.empty()) TRY(write_file_atomically(args.svg, recall_svg(rows, caption(args))));
    TRY(args.eval.write(report_json(args, rows), table(args, rows)));
    return kExitOk;
}

template <typename Value>
std::vector<std::string> names(const std::map<std::string, Value>& choices) {
    std::vector<std::string> list;
    for (const auto& [name, value] : choices) list.push_back(name);
    return list;
}

}  // namespace

void add_eval_recall(CLI::App& eval, Chosen& chosen) {
    CLI::App* command = eval.add_subcommand("recall", "Find facts again in long prompts");
    auto args = std::make_shared<RecallArgs>();
    args->eval.add_to(*command);
    command
        ->add_option("--lengths", args->lengths,
                     "Prompt tokens, exactly; K and M are 1,024 and 1,048,576")
        ->delimiter(',')
        ->transform(CLI::AsSizeValue(false))
        ->default_str("4096,65536");
    command->add_option("--questions", args->questions, "Questions per length")
        ->check(CLI::Range(1, 1000000))
        ->capture_default_str();
    command->add_option("--seed", args->seed, "Of facts, filler order and questions")
        ->capture_default_str();
    command->add_option("--facts-per-1k", args->facts_per_1k, "Facts per 1,024 tokens")
        ->check(CLI::Range(0.001, 1000.0))
        ->capture_default_str();
    command
        ->add_option("--values", args->values,
                     "What is to be recalled: two words, four digits, or either")
        ->check(CLI::IsMember(names(kValues)))
        ->capture_default_str();
    command
        ->add_option("--place", args->place,
                     "Where the facts stand: in the system message or in the user's, before the "
                     "question")
        ->check(CLI::IsMember(names(kPlaces)))
        ->capture_default_str();
    command
        ->add_option("--ablate", args->ablate,
                     "Deny the attention something: random (CSA reads as many blocks, chosen at "
                     "random), window (no compressed entries at all), no-hca (no HCA entries)")
        ->check(CLI::IsMember(names(kAblations)))
        ->capture_default_str();
    command
        ->add_option("--text", args->text,
                     "Text between the facts (default: eval/text.txt in the model's folder)")
        ->type_name("FILE");
    command->add_option("--svg", args->svg, "Draw recall against length and depth")
        ->type_name("FILE");
    command->footer(
        "Each haystack is read once; every question goes on from there. An answer is exact if all\n"
        "of it is right, up to its end.\n\n"
        "Examples:\n"
        "  baleen eval recall --lengths 4K,16K,64K --svg recall.svg\n"
        "  baleen eval recall --lengths 64K --ablate random --json random.json\n"
        "  baleen eval recall --model DIR --text book.txt --questions 20 --json -");
    command->callback([args, &chosen] { chosen.run = [args] { return run(*args); }; });
}

}  // namespace baleen::cli
