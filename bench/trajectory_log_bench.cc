// Durable operations of the trajectory log on the disk of the folder that TMPDIR names:
//   note      one record of 1 KiB, acknowledged (spec/dsec.md 5.8: a median of at most 1 ms)
//   operation the intent and the result of a call, each acknowledged
//   resume    opening a log of 500 operations and replaying them all
// Threads append to one log; what they share is seen in records_per_s. median_us and best_us are of
// single calls.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "sandbox/log/trajectory_log.h"

namespace baleen::sandbox {
namespace {

constexpr uint64_t kResumedOps = 500;

std::string fresh_folder() {
    std::string path = (std::filesystem::temp_directory_path() / "baleen-bench-XXXXXX").string();
    CHECK(::mkdtemp(path.data()) != nullptr);
    return path;
}

// The log that the threads of one benchmark share.
std::string folder;
std::unique_ptr<TrajectoryLog> shared_log;

void set_up(const benchmark::State&) {
    folder = fresh_folder();
    shared_log = TrajectoryLog::create(folder + "/log", {.name = "bench"}).value();
}
void tear_down(const benchmark::State&) {
    shared_log.reset();
    std::filesystem::remove_all(folder);
}

// Times each call of `operation` and reports the middle and the best one.
template <typename Operation>
void time_calls(benchmark::State& state, double records_per_call, const Operation& operation) {
    using Clock = std::chrono::steady_clock;
    std::vector<double> micros;
    for (auto _ : state) {
        const auto begin = Clock::now();
        operation();
        micros.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
    }
    std::ranges::sort(micros);
    const auto kAverage = benchmark::Counter::kAvgThreads;
    state.counters["median_us"] = benchmark::Counter(micros[micros.size() / 2], kAverage);
    state.counters["best_us"] = benchmark::Counter(micros.front(), kAverage);
    state.counters["records_per_s"] = benchmark::Counter(
        records_per_call * static_cast<double>(micros.size()), benchmark::Counter::kIsRate);
}

void note(benchmark::State& state) {
    // 64 bytes of header and a payload that makes it 1 KiB.
    const std::string payload = fmt::format("{{\"a\":\"{}\"}}", std::string(1024 - 64 - 8, 'x'));
    time_calls(state, 1, [&] { shared_log->note(RecordType::kEvent, payload).value(); });
}

Intent nth_intent(uint64_t index, const std::string& stream) {
    Intent intent = {.stream = stream, .index = index};
    intent.request.shell = fmt::format("pytest -q tests/test_{}.py", index);
    intent.request.cwd = "/work/repository";
    return intent;
}

OpResult some_result() {
    OpResult result = {.exit_code = 0};
    result.standard_output = whole_output(StoredBytes::in_record(std::string(600, 'o')));
    return result;
}

void operation(benchmark::State& state) {
    const std::string stream = fmt::format("s{}", state.thread_index());
    const OpResult result = some_result();
    const auto next = shared_log->next_indices();
    uint64_t index = next.contains(stream) ? next.at(stream) : 0;
    time_calls(state, 2, [&] {
        const Decision decision = shared_log->begin(nth_intent(index++, stream)).value();
        shared_log->finish(decision.op, result).value();
    });
}

void resume(benchmark::State& state) {
    for (uint64_t i = 0; i < kResumedOps; ++i) {
        const Decision decision = shared_log->begin(nth_intent(i, "main")).value();
        shared_log->finish(decision.op, some_result()).value();
    }
    shared_log.reset();
    time_calls(state, 0, [&] {
        const auto log = TrajectoryLog::open(folder + "/log").value();
        for (uint64_t i = 0; i < kResumedOps; ++i) {
            const Decision decision = log->begin(nth_intent(i, "main")).value();
            CHECK(decision.verdict == Verdict::kReplay);
            benchmark::DoNotOptimize(log->result(decision.op).value());
        }
    });
}

BENCHMARK(note)->Setup(set_up)->Teardown(tear_down)->ThreadRange(1, 16)->UseRealTime();
BENCHMARK(operation)->Setup(set_up)->Teardown(tear_down)->ThreadRange(1, 16)->UseRealTime();
BENCHMARK(resume)->Setup(set_up)->Teardown(tear_down)->UseRealTime()->Iterations(5);

}  // namespace
}  // namespace baleen::sandbox

BENCHMARK_MAIN();
