// baleen sandbox verify: are the trajectory logs and their blobs what was acknowledged?
#include <fmt/format.h>

#include <memory>
#include <string>

#include "base/json.h"
#include "cli/sandbox_commands.h"
#include "cli/stdio.h"
#include "sandbox/log/verify.h"

namespace baleen::cli {
namespace {

using sandbox::LogFault;
using sandbox::LogReport;
using sandbox::StateReport;

struct VerifyArgs {
    std::string folder;
    std::string blobs;
    bool json = false;
};

Json faults_json(const std::vector<LogFault>& faults) {
    Json list = Json::array();
    for (const LogFault& fault : faults) {
        Json json = {{"path", fault.path}, {"offset", fault.offset}};
        json["seq"] = fault.seq > 0 ? Json(fault.seq) : Json();
        json["what"] = fault.what;
        list.push_back(std::move(json));
    }
    return list;
}

Json report_json(const StateReport& report) {
    Json logs = Json::array();
    for (const LogReport& log : report.logs)
        logs.push_back({{"folder", log.folder},
                        {"trajectory", log.trajectory},
                        {"name", log.name},
                        {"status", name_of(log.status)},
                        {"records", log.records},
                        {"last_seq", log.last_seq},
                        {"head", log.records > 0 ? Json(hex(log.head)) : Json()},
                        {"bytes", log.bytes},
                        {"ops", log.ops},
                        {"pending", log.pending},
                        {"num_faults", log.num_faults},
                        {"faults", faults_json(log.faults)}});
    return {{"num_faults", report.num_faults()},
            {"logs", std::move(logs)},
            {"blobs", report.blobs},
            {"blob_faults", faults_json(report.blob_faults)}};
}

std::string fault_lines(const std::vector<LogFault>& faults) {
    std::string text;
    for (const LogFault& fault : faults) {
        std::string line = fmt::format("  {}: offset {}", fault.path, fault.offset);
        if (fault.seq > 0) line += fmt::format(": seq {}", fault.seq);
        text += printable(line + ": " + fault.what) + "\n";
    }
    return text;
}

std::string report_text(const StateReport& report) {
    std::string text;
    for (const LogReport& log : report.logs) {
        text +=
            printable(fmt::format(
                "{} {}: {}, {} records, {} operations, {} pending, {} bytes: {}", log.trajectory,
                log.name, name_of(log.status), log.records, log.ops, log.pending, log.bytes,
                log.num_faults == 0 ? "ok" : fmt::format("{} faults", log.num_faults))) +
            "\n";
        text += fault_lines(log.faults);
        if (log.num_faults > log.faults.size())
            text += fmt::format("  and {} more\n", log.num_faults - log.faults.size());
    }
    text += fmt::format(
        "{} blobs: {}\n", report.blobs,
        report.blob_faults.empty() ? "ok" : fmt::format("{} faults", report.blob_faults.size()));
    return text + fault_lines(report.blob_faults);
}

Result<int> run_verify(const VerifyArgs& args) {
    const StateReport report = TRY(sandbox::verify_folder(args.folder, args.blobs));
    // One line of JSON: its spaces and line ends would be control characters to printable().
    TRY(write_stdout(args.json ? printable(dump_json(report_json(report))) + "\n"
                               : report_text(report)));
    if (report.num_faults() == 0) return kExitOk;
    return make_error(ErrorCode::kCorrupt, "{}: {} faults, listed on stdout", args.folder,
                      report.num_faults());
}

}  // namespace

void add_sandbox_verify(CLI::App& sandbox, Chosen& chosen) {
    CLI::App* command = sandbox.add_subcommand(
        "verify", "Check trajectory logs and their blobs, byte for byte, without a daemon");
    const auto args = std::make_shared<VerifyArgs>();
    command
        ->add_option("DIR", args->folder,
                     "the daemon's state folder, or the folder of one trajectory")
        ->required();
    command->add_option("--blobs", args->blobs,
                        "the blob store of one trajectory's folder (default: where a state folder "
                        "has it, ../../blobs)");
    command->add_flag("--json", args->json, "JSON");
    command->footer(
        "Checks the hash chain, checksums, order, pairs of intent and result, and every blob. "
        "Exit status 2 if there are faults.\n\n"
        "Examples:\n"
        "  baleen sandbox verify /var/lib/baleen\n"
        "  baleen sandbox verify --json STATE/trajectories/ID\n"
        "  baleen sandbox verify copy/ID --blobs copy/blobs");
    command->callback([args, &chosen] { chosen.run = [args] { return run_verify(*args); }; });
}

}  // namespace baleen::cli
