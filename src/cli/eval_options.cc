#include "cli/eval_options.h"

#include <cmath>

#include "base/file.h"
#include "cli/interrupt.h"
#include "cli/stdio.h"

namespace baleen::cli {

void EvalArgs::add_to(CLI::App& command) {
    model.add_to(command);
    command.add_option("--json", json, "Write everything measured as JSON to this file; -: stdout")
        ->type_name("FILE");
}

std::string EvalArgs::data_path(const std::string& given, const char* file_name) const {
    return given.empty() ? model.directory + "/eval/" + file_name : given;
}

Result<void> EvalArgs::write(const Json& report, const std::string& table) const {
    const std::string text = dump_json(report) + "\n";
    if (json == "-") return write_stdout(text);
    if (!json.empty()) TRY(write_file_atomically(json, text));
    return write_stdout(table);
}

agent::EvalProgress EvalMeter::function() {
    return [this](const agent::EvalStep& step) {
        if (task_ != step.task) {
            task_ = step.task;
            progress_ = std::make_unique<Progress>(
                task_, step.unit == agent::EvalStep::Unit::kTokens ? Progress::Unit::kTokens
                                                                   : Progress::Unit::kSteps);
        }
        progress_->update(step.done, step.total);
        return !interrupted();
    };
}

Json share_json(const agent::Share& share) {
    const agent::Interval interval = share.interval();
    return {{"percent", 100 * share.value()},
            {"low", 100 * interval.low},
            {"high", 100 * interval.high},
            {"hits", share.hits},
            {"trials", share.trials}};
}

std::string share_text(const agent::Share& share) {
    const agent::Interval interval = share.interval();
    return fmt::format("{:.1f} % ({:.1f} to {:.1f})", 100 * share.value(), 100 * interval.low,
                       100 * interval.high);
}

Json finite_json(double value) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
}

}  // namespace baleen::cli
