// The shell tool: its texts against train/pocket/shell.py's (see also Oracle.*), what it refuses,
// and that nothing of a command outlives it.
#include "agent/shell_tool.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "base/file.h"

namespace baleen::agent {
namespace {

namespace fs = std::filesystem;

// What this kernel can do.
std::vector<ShellMode> modes() {
    if (best_shell_mode() == ShellMode::kListed) return {ShellMode::kListed};
    return {ShellMode::kConfined, ShellMode::kListed};
}

std::vector<ShellMode> confined_modes() {
    std::vector<ShellMode> confined = modes();
    std::erase(confined, ShellMode::kListed);
    return confined;
}

std::string mode_name(const testing::TestParamInfo<ShellMode>& tested) {
    return tested.param == ShellMode::kConfined ? "Confined" : "Listed";
}

class ShellTool : public testing::TestWithParam<ShellMode> {
  protected:
    void SetUp() override {
        folder_ = fs::temp_directory_path() / fmt::format("baleen_shell_{}", ::getpid());
        fs::create_directories(folder_ / "src");
        write("notes.txt", "oak\nash\nelm\n");
        write("empty.txt", "");
        write("src/amber.cfg", "port: 8080\n");
    }
    void TearDown() override { fs::remove_all(folder_); }

    void write(const std::string& path, const std::string& text) const {
        std::ofstream(folder_ / path) << text;
    }
    std::string read(const std::string& path) const {
        return read_file((folder_ / path).string(), 1 << 20).value();
    }
    std::string run(const std::string& command, const ShellLimits& limits = {}) const {
        return run_shell_command(command, folder_.string(), GetParam(), limits).value();
    }

    fs::path folder_;
};

TEST_P(ShellTool, GivesTheTextsOfCoreutils) {
    EXPECT_EQ(run("wc -l notes.txt"), "3 notes.txt");
    EXPECT_EQ(run("  sort   notes.txt "), "ash\nelm\noak");
    EXPECT_EQ(run("sort -r notes.txt"), "oak\nelm\nash");
    EXPECT_EQ(run("head -n 2 notes.txt"), "oak\nash");
    EXPECT_EQ(run("tail -n 1 notes.txt"), "elm");
    EXPECT_EQ(run("cat empty.txt"), "(no output)");
    EXPECT_EQ(run("cat none.txt"), "exit 1: cat: none.txt: No such file or directory");
    EXPECT_EQ(run("sort none.txt"),
              "exit 2: sort: cannot read: none.txt: No such file or directory");
    EXPECT_EQ(run("rm src"), "exit 1: rm: cannot remove 'src': Is a directory");
    EXPECT_EQ(run("head -n x notes.txt"), "exit 1: head: invalid number of lines: 'x'");
    EXPECT_EQ(run("ls ."), "empty.txt\nnotes.txt\nsrc");
    EXPECT_EQ(run("frobnicate x"), "exit 127: sh: 1: frobnicate: not found");
}

TEST_P(ShellTool, ChangesFiles) {
    EXPECT_EQ(run("cp notes.txt src/"), "(no output)");
    EXPECT_EQ(run("mv notes.txt moved.txt"), "(no output)");
    EXPECT_EQ(run("mv moved.txt src/deep.txt"), "(no output)");
    EXPECT_EQ(run("mkdir -p new/deep"), "(no output)");
    EXPECT_EQ(run("rm empty.txt"), "(no output)");
    EXPECT_EQ(run("ls src"), "amber.cfg\ndeep.txt\nnotes.txt");
    EXPECT_EQ(run("ls ."), "new\nsrc");
    EXPECT_EQ(read("src/deep.txt"), "oak\nash\nelm\n");
}

TEST_P(ShellTool, NothingOutsideIsReadOrWritten) {
    const fs::path outside = folder_.string() + "_outside.txt";
    std::ofstream(outside) << "secret\n";
    for (const std::string& path :
         {outside.string(), "../" + outside.filename().string(), std::string("/etc/passwd")}) {
        EXPECT_TRUE(run("cat " + path).starts_with("exit ")) << run("cat " + path);
        EXPECT_TRUE(run("cp notes.txt " + path).starts_with("exit "));
        EXPECT_TRUE(run("rm " + path).starts_with("exit "));
    }
    EXPECT_TRUE(run("ls ..").starts_with("exit ")) << run("ls ..");
    EXPECT_EQ(read_file(outside.string(), 100).value(), "secret\n");
    fs::remove(outside);
}

TEST_P(ShellTool, OutputHasALimit) {
    write("long.txt", std::string(3000, 'x'));
    EXPECT_EQ(run("cat long.txt", {.output_bytes_max = 2999}),
              "exit 125: more than 2999 bytes of output");
    EXPECT_EQ(run("cat long.txt", {.output_bytes_max = 3000}), std::string(3000, 'x'));
}

TEST_P(ShellTool, RefusesAZeroByte) {
    EXPECT_TRUE(run(std::string("cat notes.txt\0x", 15)).starts_with("exit 127"));
}

TEST_P(ShellTool, AMissingFolderIsTheSystemsError) {
    const auto result = run_shell_command("ls .", folder_.string() + "/none", GetParam());
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kIo);
}

INSTANTIATE_TEST_SUITE_P(Modes, ShellTool, testing::ValuesIn(modes()), mode_name);

class ListedShell : public ShellTool {};

TEST_P(ListedShell, TakesListedFormsOnly) {
    for (const char* command :
         {"ls -l .", "cat -n notes.txt", "cat notes.txt empty.txt", "rm -r src", "echo x", "cat -",
          "mkdir src", "sort -o x notes.txt", "cat notes.txt > copy.txt", "ls", ""})
        EXPECT_TRUE(run(command).starts_with("exit 127: sh: 1: ")) << command;
    EXPECT_EQ(run("ls ."), "empty.txt\nnotes.txt\nsrc");
}

INSTANTIATE_TEST_SUITE_P(Modes, ListedShell, testing::Values(ShellMode::kListed), mode_name);

// What only a whole shell can try.
class ConfinedShell : public ShellTool {
  protected:
    void expect_not_permitted(const std::string& command) {
        const std::string text = run(command);
        EXPECT_TRUE(text.starts_with("exit ")) << command << ": " << text;
        EXPECT_NE(text.find("not permitted"), std::string::npos) << command << ": " << text;
    }
};

TEST_P(ConfinedShell, IsAShell) {
    EXPECT_EQ(run("cat notes.txt | grep -c a > n.txt; cat n.txt"), "2");
    EXPECT_EQ(run("echo $LC_ALL $HOME; exit 0"), "C .");
    EXPECT_EQ(run("echo out; echo err >&2; exit 3"), "exit 3: err");
    EXPECT_EQ(run("yes | head -n 1"), "y");
    EXPECT_EQ(run("cat"), "(no output)");  // nothing on stdin
    EXPECT_EQ(run("echo x > /dev/null"), "(no output)");
}

TEST_P(ConfinedShell, NeitherNetworkNorSignalsNorModes) {
    expect_not_permitted("bash -c 'echo > /dev/tcp/127.0.0.1/9'");
    expect_not_permitted("python3 -c 'import socket; socket.socket()'");
    expect_not_permitted("kill -9 $PPID");
    expect_not_permitted("chmod 777 notes.txt");
    expect_not_permitted("setsid sleep 1000");
    expect_not_permitted("unshare -r true");
}

TEST_P(ConfinedShell, LinksLeadNowhere) {
    EXPECT_EQ(run("ln -s /etc out"), "(no output)");
    const std::string text = run("cat out/passwd");
    EXPECT_TRUE(text.starts_with("exit 1: ") && text.ends_with("Permission denied")) << text;
}

TEST_P(ConfinedShell, NothingOutlivesTheCommand) {
    EXPECT_EQ(run("(sleep 0.3; echo late > late.txt) & echo done"), "done");
    std::this_thread::sleep_for(std::chrono::milliseconds(800));
    EXPECT_FALSE(fs::exists(folder_ / "late.txt"));
}

TEST_P(ConfinedShell, TimeFilesAndDescriptorsHaveLimits) {
    EXPECT_EQ(run("sleep 1000", {.time_max = std::chrono::milliseconds(100)}),
              "exit 124: stopped after 100 ms");
    EXPECT_EQ(run("sleep 1000 & sleep 1000 & wait", {.time_max = std::chrono::milliseconds(100)}),
              "exit 124: stopped after 100 ms");
    EXPECT_TRUE(run("head -c 5000 /dev/zero > big", {.file_bytes_max = 4096}).starts_with("exit "));
    EXPECT_LE(fs::file_size(folder_ / "big"), 4096u);
    EXPECT_TRUE(run("while :; do :; done", {.cpu_seconds_max = 1}).starts_with("exit 137"));
    EXPECT_EQ(run("ulimit -n", {.open_files_max = 20}), "20");
    EXPECT_EQ(run("yes", {.output_bytes_max = 1000}), "exit 125: more than 1000 bytes of output");
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ConfinedShell);
INSTANTIATE_TEST_SUITE_P(Modes, ConfinedShell, testing::ValuesIn(confined_modes()), mode_name);

}  // namespace
}  // namespace baleen::agent
