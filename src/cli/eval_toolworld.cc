// baleen eval toolworld: tasks with tools on real files.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include "agent/toolworld.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/eval_options.h"
#include "cli/interrupt.h"

namespace baleen::cli {
namespace {

using agent::Share;
using agent::TaskResult;
using agent::ToolworldReport;

constexpr size_t kTasksBytesMax = size_t{256} << 20;

struct ToolworldArgs {
    EvalArgs eval;
    std::string tasks;
    size_t limit = 0;  // 0: all
    int64_t max_tokens = 512;
    size_t parallel = 4;
    double temperature = 0;
    uint64_t seed = 1;
    bool mtp = false;
    bool drop_reasoning = false;
    std::string script;
};

using Shares = std::map<std::string, Share>;

Shares solved_by(const ToolworldReport& report,
                 const std::function<std::string(const TaskResult&)>& key) {
    Shares shares;
    for (const TaskResult& task : report.tasks) shares[key(task)].add(task.is_solved());
    return shares;
}

struct Breakdown {
    const char* key;    // in JSON
    const char* title;  // in the table
    Shares shares;
};

std::vector<Breakdown> breakdowns(const ToolworldReport& report) {
    return {
        {"by_calls", "calls needed",
         solved_by(report,
                   [](const TaskResult& task) { return fmt::format("{}", task.needed_calls); })},
        {"by_mode", "mode", solved_by(report, [](const TaskResult& task) { return task.mode; })},
        {"by_kind", "kind", solved_by(report, [](const TaskResult& task) { return task.kind; })}};
}

double acceptance(const SchedulerStats& stats) {
    return stats.drafts_proposed == 0 ? 0
                                      : static_cast<double>(stats.drafts_accepted) /
                                            static_cast<double>(stats.drafts_proposed);
}

std::string table(const ToolworldArgs& args, const std::string& path,
                  const ToolworldReport& report) {
    const auto row = [](std::string_view name, const Share& share) {
        return fmt::format("  {:<26} {:<28} {:>6} of {:>6}\n", name, share_text(share), share.hits,
                           share.trials);
    };
    std::string out = fmt::format("{}: {}{}{}\n\n", args.eval.model.directory, path,
                                  args.drop_reasoning ? ", earlier reasoning dropped" : "",
                                  args.mtp ? ", MTP" : "");
    out += row("tasks solved", report.solved);
    out += row("messages well-formed", report.well_formed);
    out += row("calls where none is needed", report.spurious);
    for (const Breakdown& breakdown : breakdowns(report)) {
        out += fmt::format("\nsolved, by {}\n", breakdown.title);
        for (const auto& [name, share] : breakdown.shares) out += row(name, share);
    }
    const SchedulerStats& stats = report.stats;
    out +=
        fmt::format("\n{} tokens in {:.1f} s, {:.1f} tok/s; prompts {} tokens, {} of them cached\n",
                    stats.sampled_tokens, report.seconds, report.tok_s(), stats.prompt_tokens,
                    stats.cached_tokens);
    if (args.mtp)
        out += fmt::format("MTP: {} of {} drafts accepted ({:.1f} %), {:.3f} tokens per forward\n",
                           stats.drafts_accepted, stats.drafts_proposed, 100 * acceptance(stats),
                           report.tokens_per_forward());
    return out;
}

Json task_json(const TaskResult& task) {
    Json messages = Json::array();
    for (const agent::ToolMessage& message : task.messages)
        messages.push_back(
            {{"text", message.text},
             {"calls", message.calls},
             {"malformed", message.malformed.empty() ? Json(nullptr) : Json(message.malformed)}});
    return {{"session", task.session},
            {"turn", task.turn},
            {"kind", task.kind},
            {"mode", task.mode},
            {"needed_calls", task.needed_calls},
            {"calls", task.calls},
            {"solved", task.is_solved()},
            {"failures", task.failures},
            {"answer", task.answer},
            {"messages", std::move(messages)}};
}

Json report_json(const ToolworldArgs& args, const std::string& path,
                 const ToolworldReport& report) {
    const SchedulerStats& stats = report.stats;
    Json json = {{"eval", "toolworld"},
                 {"model", args.eval.model.directory},
                 {"numerics", args.eval.model.numerics},
                 {"tasks_file", path},
                 {"temperature", args.temperature},
                 {"drop_reasoning", args.drop_reasoning},
                 {"solved", share_json(report.solved)},
                 {"well_formed", share_json(report.well_formed)},
                 {"spurious", share_json(report.spurious)}};
    for (const Breakdown& breakdown : breakdowns(report)) {
        json[breakdown.key] = Json::object();
        for (const auto& [name, share] : breakdown.shares)
            json[breakdown.key][name] = share_json(share);
    }
    json["mtp"] = !args.mtp ? Json(nullptr)
                            : Json{{"drafts", stats.drafts_proposed},
                                   {"accepted", stats.drafts_accepted},
                                   {"acceptance", acceptance(stats)},
                                   {"tokens_per_forward", report.tokens_per_forward()}};
    json["sampled_tokens"] = stats.sampled_tokens;
    json["prompt_tokens"] = stats.prompt_tokens;
    json["cached_tokens"] = stats.cached_tokens;
    json["tok_s"] = report.tok_s();
    json["seconds"] = report.seconds;
    json["tasks"] = Json::array();
    for (const TaskResult& task : report.tasks) json["tasks"].push_back(task_json(task));
    return json;
}

agent::ToolworldOptions options_of(const ToolworldArgs& args) {
    agent::ToolworldOptions options{.sampling = {.temperature = args.temperature,
                                                 .seed = args.seed,
                                                 .greedy = args.temperature == 0},
                                    .tokens_max = args.max_tokens,
                                    .parallel = args.parallel,
                                    .earlier = args.drop_reasoning
                                                   ? agent::EarlierReasoning::kDropped
                                                   : agent::EarlierReasoning::kKept};
    if (options.shell == agent::ShellMode::kListed)
        fmt::print(stderr,
                   "this kernel cannot confine a shell (Landlock and seccomp): only the tool "
                   "world's own commands are run\n");
    return options;
}

Result<int> run(ToolworldArgs args) {
    set_log_level(LogLevel::kError);
    TRY(args.eval.model.choose());
    const std::string path = args.eval.data_path(args.tasks, "toolworld.json");
    auto set = agent::ToolTaskSet::parse(TRY(read_file(path, kTasksBytesMax)));
    if (!set) return std::move(set).error().in(path);
    if (args.limit > 0 && args.limit < set->sessions.size()) set->sessions.resize(args.limit);
    const Tokenizer tokenizer = TRY(Tokenizer::load(args.eval.model.directory));
    EngineOptions engine_options = TRY(args.eval.model.engine_options());
    engine_options.mtp = args.mtp;
    Scheduler scheduler(TRY(Engine::load(args.eval.model.directory, engine_options)),
                        {.running_max = args.parallel});
    agent::ToolworldOptions options = options_of(args);
    std::unique_ptr<serve::Script> script;
    if (!args.script.empty()) {
        script = TRY(serve::Script::load(args.script));
        options.script = script.get();
        options.parallel = 1;  // the script's turns are taken in order
    }
    watch_interrupts();
    Result<ToolworldReport> report = [&] {
        EvalMeter meter;
        return agent::evaluate_toolworld(scheduler, tokenizer, *set, options, meter.function());
    }();
    if (!report) return std::move(report).error();
    TRY(args.eval.write(report_json(args, path, *report), table(args, path, *report)));
    return kExitOk;
}

}  // namespace

void add_eval_toolworld(CLI::App& eval, Chosen& chosen) {
    CLI::App* command = eval.add_subcommand("toolworld", "Solve tasks with tools, on real files");
    auto args = std::make_shared<ToolworldArgs>();
    args->eval.add_to(*command);
    command
        ->add_option("--tasks", args->tasks,
                     "Task file (default: eval/toolworld.json in the model's folder)")
        ->type_name("FILE");
    command->add_option("--limit", args->limit, "Only the first N conversations (0: all)")
        ->capture_default_str();
    command->add_flag("--mtp", args->mtp, "Decode with the model's MTP drafts");
    command->add_flag("--drop-reasoning", args->drop_reasoning,
                      "Leave the reasoning of earlier turns out of the prompts: an ablation");
    command->add_option("--temperature", args->temperature, "0: greedy")
        ->check(CLI::Range(0.0, 100.0))
        ->capture_default_str();
    command->add_option("--seed", args->seed, "Of the sampling")->capture_default_str();
    command->add_option("--max-tokens", args->max_tokens, "Most tokens of one message")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
        ->capture_default_str();
    command->add_option("--parallel", args->parallel, "Conversations at a time")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    command
        ->add_option("--script", args->script,
                     "Answers written in advance, taken in order: for tests")
        ->type_name("FILE");
    command->footer(
        "Tools work on real files in a temporary folder per conversation. Shell commands run\n"
        "confined to it (docs/cli.md). Decoding is unconstrained; a message is well-formed if the\n"
        "strict parser takes it.\n\n"
        "Examples:\n"
        "  baleen eval toolworld --mtp\n"
        "  baleen eval toolworld --limit 20 --drop-reasoning --json report.json\n"
        "  baleen eval toolworld --model DIR --tasks tasks.json --json -");
    command->callback([args, &chosen] { chosen.run = [args] { return run(*args); }; });
}

}  // namespace baleen::cli
