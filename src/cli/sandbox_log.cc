// baleen sandbox log: what a trajectory log says, record by record; or which logs there are.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/json.h"
#include "cli/sandbox_commands.h"
#include "cli/stdio.h"
#include "sandbox/log/call_index.h"
#include "sandbox/log/log_folder.h"
#include "sandbox/log/payload.h"

namespace baleen::cli {
namespace {

using namespace baleen::sandbox;

struct LogArgs {
    std::string folder;
    uint64_t from = 1;
    bool json = false;
};

Result<void> write_line(std::string_view line) {
    return write_stdout(printable(line) + "\n");
}

// 2026-01-31T10:11:12.345Z.
std::string time_text(uint64_t time_ns) {
    const auto seconds = static_cast<std::time_t>(time_ns / 1'000'000'000);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds),
                       time_ns / 1'000'000 % 1000);
}

// One line: control characters escaped, long texts cut.
std::string shown(const std::string& text) {
    constexpr size_t kShownBytesMax = 120;
    if (text.size() <= kShownBytesMax) return dump_json(text);
    return dump_json(text.substr(0, kShownBytesMax)) + "...";
}

std::string summary(const OpenPayload& open) {
    std::string text = fmt::format("{} policy {}", shown(open.name), name_of(open.policy));
    if (!open.sandbox.empty()) text += " sandbox " + open.sandbox;
    if (open.parent)
        text += fmt::format(", branch of {} at {}", shown(open.parent->name), open.parent->at);
    return text;
}
std::string summary(const AttachPayload& attach) {
    return fmt::format("epoch {} from {}", attach.epoch, shown(attach.from));
}
std::string summary(const Intent& intent) {
    std::string what = intent.request.shell.value_or("");
    for (const std::string& argument : intent.request.argv)
        what += (what.empty() ? "" : " ") + argument;
    for (const auto& [name, value] : intent.request.fields)
        what += fmt::format("{}{}={}", what.empty() ? "" : " ", name, value);
    return fmt::format("{}[{}] {} {}{}", intent.stream, intent.index, intent.request.kind,
                       shown(what), intent.is_volatile ? " volatile" : "");
}
std::string summary(const OpResult& result) {
    std::string text = result.exit_code ? fmt::format("exit code {}", *result.exit_code)
                       : result.signal  ? fmt::format("signal {}", *result.signal)
                                        : "done";
    if (result.timed_out) text += ", timed out";
    if (!result.cause.empty()) text += ", " + result.cause;
    return fmt::format("{}, stdout {} bytes, stderr {} bytes, {:.3f} s", text,
                       result.standard_output.total, result.standard_error.total,
                       static_cast<double>(result.duration_ns) / 1e9);
}
std::string summary(const Note& note) {
    return note.json == "{}" ? "" : note.json;
}
std::string summary(const SealPayload& seal) {
    return seal.cause + (seal.is_infra ? " (infrastructure)" : "");
}

// A result is of the op whose intent has the seq that it names; an intent is its own op.
uint64_t op_of(const RecordHead& head) {
    return head.type == RecordType::kIntent || head.type == RecordType::kResult
               ? head.seq - head.intent_distance
               : 0;
}

Result<void> print_record(const RecordView& record, bool as_json) {
    const RecordHead& head = record.head;
    const uint64_t op = op_of(head);
    if (as_json)
        // The payload is canonical JSON as it is.
        return write_line(
            fmt::format("{{\"seq\":{},\"time_ns\":{},\"type\":\"{}\"{},\"payload\":{}}}", head.seq,
                        head.time_ns, name_of(head.type),
                        op > 0 ? fmt::format(",\"op\":{}", op) : "", record.payload));
    const Payload payload = TRY(decode_payload(head.type, record.payload));
    return write_line(fmt::format("{:>6} {} {:<10} {}{}", head.seq, time_text(head.time_ns),
                                  name_of(head.type), op > 0 ? fmt::format("op {} ", op) : "",
                                  std::visit([](const auto& p) { return summary(p); }, payload)));
}

Result<int> print_log(const LogArgs& args) {
    const auto print = [&](const RecordView& record, Location at) -> Result<Visit> {
        if (record.head.seq < args.from) return Visit::kContinue;
        if (auto printed = print_record(record, args.json); !printed) {
            if (printed.error().code != ErrorCode::kCorrupt) return std::move(printed).error();
            return std::move(printed).error().in(
                fmt::format("{}: offset {}", segment_path(args.folder, at.segment), at.offset));
        }
        return Visit::kContinue;
    };
    const LogExtent extent = TRY(scan_log(args.folder, print));
    if (extent.torn_tail)
        fmt::print(stderr, "baleen: {}: offset {}: torn tail: {}\n",
                   segment_path(args.folder, extent.segments), extent.torn_tail->offset,
                   extent.torn_tail->what);
    return kExitOk;
}

Result<void> print_trajectory(const std::string& folder, const std::string& id, bool as_json) {
    CallIndex calls;
    const auto scanned = scan_log(folder, [&](const RecordView& record, Location) -> Result<Visit> {
        TRY(calls.apply(record.head, TRY(decode_payload(record.head.type, record.payload))));
        return Visit::kContinue;
    });
    const std::string status =
        scanned ? std::string(name_of(calls.status())) : "damaged: " + scanned.error().message;
    const OpenPayload& opening = calls.opening();
    if (!as_json)
        return write_line(fmt::format("{} {} {} seq {} epoch {} ops {} {}: {}", id,
                                      time_text(opening.created_ns), shown(opening.name),
                                      calls.last_seq(), calls.epoch(), calls.num_ops(),
                                      calls.sandbox(), status));
    Json labels = Json::object();
    for (const auto& [key, value] : opening.labels) labels[key] = value;
    return write_line(dump_json({{"trajectory", id},
                                 {"name", opening.name},
                                 {"created_ns", opening.created_ns},
                                 {"sandbox", calls.sandbox()},
                                 {"last_seq", calls.last_seq()},
                                 {"epoch", calls.epoch()},
                                 {"ops", calls.num_ops()},
                                 {"pending", calls.pending().size()},
                                 {"labels", std::move(labels)},
                                 {"status", status}}));
}

// A state folder: from the logs themselves, not from the daemon's index.
Result<int> print_trajectories(const std::string& folder, bool as_json) {
    for (const std::string& id : TRY(list_folder(folder)))
        if (TrajectoryId::parse(id)) TRY(print_trajectory(folder + "/" + id, id, as_json));
    return kExitOk;
}

Result<int> run_log(const LogArgs& args) {
    std::error_code ignored;
    if (std::filesystem::is_directory(args.folder + "/trajectories", ignored))
        return print_trajectories(args.folder + "/trajectories", args.json);
    return print_log(args);
}

}  // namespace

void add_sandbox_log(CLI::App& sandbox, Chosen& chosen) {
    CLI::App* command =
        sandbox.add_subcommand("log", "Print a trajectory log, or list those of a state folder");
    const auto args = std::make_shared<LogArgs>();
    command
        ->add_option("DIR", args->folder,
                     "the folder of one trajectory, or the daemon's state folder")
        ->required();
    command->add_option("--from", args->from, "begin with the record of this seq")
        ->type_name("SEQ")
        ->capture_default_str();
    command->add_flag("--json", args->json, "one JSON object per line");
    command->footer(
        "Stops with exit status 2 where a record is damaged; `baleen sandbox verify` looks "
        "further.\n\n"
        "Examples:\n"
        "  baleen sandbox log /var/lib/baleen\n"
        "  baleen sandbox log STATE/trajectories/ID --from 100\n"
        "  baleen sandbox log STATE/trajectories/ID --json | jq .payload.request");
    command->callback([args, &chosen] { chosen.run = [args] { return run_log(*args); }; });
}

}  // namespace baleen::cli
