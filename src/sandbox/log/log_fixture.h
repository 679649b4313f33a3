// What the tests of the trajectory log share: a folder of their own, and requests to put into logs.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "sandbox/log/trajectory_log.h"

namespace baleen::sandbox {

// Fails the test with the error's message.
#define ASSERT_HOLDS(expression)                                 \
    do {                                                         \
        const auto& holds = (expression);                        \
        ASSERT_TRUE(holds.has_value()) << holds.error().message; \
    } while (0)
#define EXPECT_FAILS(expression, wanted)                                                           \
    do {                                                                                           \
        const auto& fails = (expression);                                                          \
        ASSERT_FALSE(fails.has_value());                                                           \
        EXPECT_NE(fails.error().message.find(wanted), std::string::npos) << fails.error().message; \
    } while (0)

// In memory where the system has a folder for that (thousands of syncs are then no matter of
// minutes), else where all tests write; kDisk asks for the latter.
enum class Place { kMemory, kDisk };

class TempFolder {
  public:
    explicit TempFolder(Place place = Place::kMemory) {
        const bool in_memory = place == Place::kMemory && ::access("/dev/shm", W_OK) == 0;
        std::string path = (in_memory ? "/dev/shm/" : ::testing::TempDir()) + "baleen-log-XXXXXX";
        CHECK(::mkdtemp(path.data()) != nullptr);
        path_ = path;
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

inline std::string read_all(const std::string& path) {
    return read_file(path, size_t{1} << 30).value();
}
inline void write_all(const std::string& path, std::string_view bytes) {
    FileWriter writer = FileWriter::create(path).value();
    writer.write(bytes).value();
    writer.close().value();
}

inline Intent shell_intent(const std::string& command, uint64_t index, uint64_t epoch = 0,
                           const std::string& stream = "main") {
    Intent intent;
    intent.stream = stream;
    intent.index = index;
    intent.epoch = epoch;
    intent.request.shell = command;
    return intent;
}

inline OpResult text_result(const std::string& text) {
    OpResult result;
    result.exit_code = 0;
    result.duration_ns = 1'000'000;
    result.standard_output = whole_output(StoredBytes::in_record(text));
    return result;
}

inline OpenPayload opening(const std::string& name) {
    return {.name = name, .created_ns = 1'700'000'000'000'000'000, .sandbox = "node-1-1-abc"};
}

// Runs the call and records a result: its op.
inline uint64_t run_op(TrajectoryLog& log, const Intent& intent, const OpResult& result) {
    const Decision decision = log.begin(intent).value();
    CHECK(decision.verdict == Verdict::kRun);
    log.finish(decision.op, result).value();
    return decision.op;
}

}  // namespace baleen::sandbox
