// The tools and the judge against what train/pocket gives: tests/golden/toolworld_oracle.json is
// written by `python -m pocket.toolworld --count 24 --seed 20261124 --oracle` in train/.
#include "agent/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "agent/calculator.h"
#include "agent/judge.h"
#include "agent/world_path.h"
#include "base/file.h"

namespace baleen::agent {
namespace {

const FileTexts kFiles = {{"notes.txt", "oak\nash\nelm\n"},
                          {"src/amber.cfg", "port: 8080\nmode: dark blue\n"},
                          {"src/deep/leaf.md", "one oak\n"},
                          {"numbers.txt", "10\n9\n-3\n100\n"},
                          {"src.txt", "x y\n"},
                          {"empty.txt", ""}};

World make_world(const FileTexts& files = kFiles, ShellMode mode = best_shell_mode()) {
    return World::create(files, mode).value();
}

Json json(std::string_view text) {
    return parse_json(text).value();
}

struct ToolCase {
    std::string name, arguments, expected;
};

TEST(World, ToolsGiveTheTextsOfTheTraining) {
    const std::vector<ToolCase> cases = {
        {"read", R"({"path": "notes.txt"})", "oak\nash\nelm"},
        {"read", R"({"path": "notes.txt", "limit": 2})", "oak\nash"},
        {"read", R"({"path": "notes.txt", "limit": 9})", "oak\nash\nelm"},
        {"read", R"({"path": "notes.txt", "limit": 0})", "error: limit must be at least 1"},
        {"read", R"({"path": "notes.txt", "limit": -2})", "error: limit must be at least 1"},
        {"read", R"({"path": "notes.txt", "limit": "2"})",
         "error: argument limit must be an integer"},
        {"read", R"({"path": "notes.txt", "limit": true})",
         "error: argument limit must be an integer"},
        {"read", R"({"path": "notes.txt", "limit": 2.0})",
         "error: argument limit must be an integer"},
        {"read", R"({"path": 7})", "error: argument path must be a string"},
        {"read", R"({"path": "none.txt"})", "error: no such file: none.txt"},
        {"read", R"({"path": "notes.txt/"})", "oak\nash\nelm"},
        {"read", R"({"path": "notes.txt/x"})", "error: no such file: notes.txt/x"},
        {"read", R"({"path": "src"})", "error: not a file: src"},
        {"read", R"({"path": "."})", "error: not a file: ."},
        {"read", R"({"path": "empty.txt"})", "(empty)"},
        {"read", R"({"path": "../notes.txt"})", "error: bad path: ../notes.txt"},
        {"read", R"({"path": "/notes.txt"})", "error: bad path: /notes.txt"},
        {"read", R"({"path": "src//amber.cfg"})", "error: bad path: src//amber.cfg"},
        {"read", R"({"path": ""})", "error: bad path: "},
        {"read", R"({})", "error: missing argument: path"},
        {"read", R"([])", "error: missing argument: path"},
        {"list", R"({"path": "."})", "empty.txt\nnotes.txt\nnumbers.txt\nsrc/\nsrc.txt"},
        {"list", R"({"path": "src"})", "amber.cfg\ndeep/"},
        {"list", R"({"path": "src/"})", "amber.cfg\ndeep/"},
        {"list", R"({"path": "none"})", "error: no such folder: none"},
        {"list", R"({"path": "notes.txt"})", "error: not a folder: notes.txt"},
        {"grep", R"({"pattern": "oak", "path": "."})",
         "notes.txt:1:oak\nsrc/deep/leaf.md:1:one oak"},
        {"grep", R"({"pattern": "oak", "path": "src"})", "src/deep/leaf.md:1:one oak"},
        {"grep", R"({"pattern": "elm", "path": "notes.txt"})", "notes.txt:3:elm"},
        {"grep", R"({"pattern": "Oak", "path": "."})", "no matches"},
        {"grep", R"({"pattern": "o.k", "path": "."})", "no matches"},
        {"grep", R"({"pattern": "", "path": "."})", "error: empty pattern"},
        {"grep", R"({"pattern": "oak", "path": "none"})", "error: no such file: none"},
        {"write", R"({"path": "new/a.txt", "content": "blue sky"})", "wrote 9 bytes to new/a.txt"},
        {"write", R"({"path": "notes.txt", "content": "x\n"})", "wrote 2 bytes to notes.txt"},
        {"write", R"({"path": "a.txt", "content": ""})", "wrote 0 bytes to a.txt"},
        {"write", R"({"path": "a.txt", "content": "\u00e9"})", "wrote 3 bytes to a.txt"},
        {"write", R"({"path": "src", "content": "x"})", "error: not a file: src"},
        {"write", R"({"path": ".", "content": "x"})", "error: not a file: ."},
        {"write", R"({"path": "notes.txt/a", "content": "x"})", "error: not a file: notes.txt/a"},
        {"write", R"({"path": "a.txt"})", "error: missing argument: content"},
        {"fly", R"({})", "error: unknown tool: fly"},
        {"calculator", R"j({"expression": "2 * (3 + 4)"})j", "14"},
        {"calculator", R"({"expression": 14})", "error: argument expression must be a string"},
    };
    for (const ToolCase& c : cases)
        EXPECT_EQ(make_world().run_tool(c.name, json(c.arguments)).value(), c.expected)
            << c.name << " " << c.arguments;
}

TEST(World, ReadKeepsBlankLines) {
    World world = make_world({{"a.txt", "\n\nx\n\n"}});
    EXPECT_EQ(world.run_tool("read", json(R"({"path": "a.txt"})")).value(), "\n\nx\n");
    EXPECT_EQ(world.run_tool("read", json(R"({"path": "a.txt", "limit": 3})")).value(), "\n\nx");
    EXPECT_EQ(world.run_tool("read", json(R"({"path": "a.txt", "limit": 1})")).value(), "(empty)");
}

TEST(World, WritesReplaceAndMakeFolders) {
    World world = make_world();
    world.run_tool("write", json(R"({"path": "new/deep/a.txt", "content": "blue"})")).value();
    world.run_tool("write", json(R"({"path": "notes.txt", "content": ""})")).value();
    FileTexts expected = kFiles;
    expected["new/deep/a.txt"] = "blue\n";
    expected["notes.txt"] = "";
    EXPECT_EQ(world.files().value(), expected);
    world.run_tool("shell", json(R"({"command": "rm new/deep/a.txt"})")).value();
    EXPECT_EQ(world.run_tool("list", json(R"({"path": "new/deep"})")).value(), "(empty)");
}

TEST(World, LinksLeadNowhere) {
    World world = make_world();
    std::filesystem::create_symlink("/etc", world.folder() + "/out");
    std::filesystem::create_symlink("notes.txt", world.folder() + "/link.txt");
    const auto run = [&](const char* tool, const char* arguments) {
        return world.run_tool(tool, json(arguments)).value();
    };
    EXPECT_EQ(run("read", R"({"path": "out/passwd"})"), "error: no such file: out/passwd");
    EXPECT_EQ(run("read", R"({"path": "link.txt"})"), "error: no such file: link.txt");
    EXPECT_EQ(run("list", R"({"path": "out"})"), "error: no such folder: out");
    EXPECT_EQ(run("grep", R"({"pattern": "root", "path": "out"})"), "error: no such file: out");
    EXPECT_EQ(run("write", R"({"path": "out/x", "content": "x"})"), "error: not a file: out/x");
    EXPECT_EQ(run("write", R"({"path": "link.txt", "content": "x"})"),
              "error: not a file: link.txt");
    EXPECT_EQ(world.files().value(), kFiles);
}

TEST(World, LimitsAndBadBytes) {
    World world = make_world(
        {{"long.txt", std::string(kToolBytesMax + 1, 'x')}, {"bytes.txt", "a\xFFz\xC3"}});
    EXPECT_EQ(world.run_tool("read", json(R"({"path": "long.txt"})")).value(),
              "error: result longer than 65536 bytes");
    EXPECT_EQ(world.run_tool("read", json(R"({"path": "bytes.txt"})")).value(), "a\uFFFDz\uFFFD");
    const Json name = {{"path", std::string(300, 'n')}, {"content", "x"}};
    EXPECT_TRUE(world.run_tool("write", name).value().starts_with("error: cannot write: nnn"));
}

TEST(World, FolderGoesWithTheWorld) {
    std::string folder;
    {
        const World world = make_world();
        folder = world.folder();
        EXPECT_TRUE(std::filesystem::exists(folder));
    }
    EXPECT_FALSE(std::filesystem::exists(folder));
    EXPECT_FALSE(World::create({{"../x", "y"}}, ShellMode::kListed));
}

TEST(WorldPath, RefusesWhatLeavesTheFolder) {
    EXPECT_EQ(normal_path("a/b/"), "a/b");
    EXPECT_EQ(normal_path("."), ".");
    EXPECT_EQ(normal_path("./"), ".");
    const std::string_view refused[] = {"",    "/",  "/a",  "a//b",     "a/../b",
                                        "./a", "..", "a//", {"a\0b", 3}};
    for (const std::string_view bad : refused) EXPECT_EQ(normal_path(bad), std::nullopt) << bad;
}

TEST(Calculator, IntegersOfEighteenDigits) {
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"1 + 2 * 3", "7"},
        {"(1 + 2) * 3", "9"},
        {"2 - 3 - 4", "-5"},
        {"-3 * -(2 - 5)", "-9"},
        {"007", "7"},
        {"0", "0"},
        {"1+1", "2"},
        {"--2", "2"},
        {"", "error: bad expression"},
        {"1 +", "error: bad expression"},
        {"(1", "error: bad expression"},
        {"1)", "error: bad expression"},
        {"1 2", "error: bad expression"},
        {"2 ** 3", "error: bad expression"},
        {"8 / 2", "error: bad expression"},
        {"1.5", "error: bad expression"},
        {"+1", "error: bad expression"},
        {"1\t+ 1", "error: bad expression"},
        {"999999999999999999", "999999999999999999"},
        {"1000000000000000000", "error: number too large"},
        {"0000000000000000000000001", "1"},
        {"999999999999999999 + 1", "error: number too large"},
        {"-999999999999999999 - 1", "error: number too large"},
        {"999999999999999999 * 999999999999999999", "error: number too large"},
        {"1000000000000000000 + x", "error: bad expression"},
        {"1000000000000000000 + (", "error: number too large"},
        {std::string(200, '(') + "1", "error: bad expression"},
        {std::string(64, '-') + "1", "1"},
        {std::string(65, '-') + "1", "error: bad expression"},
    };
    for (const auto& [expression, expected] : cases)
        EXPECT_EQ(calculate(expression), expected) << expression;
}

// ---- the oracle's sessions -------------------------------------------------------------------

struct OracleTurn {
    std::string kind;
    size_t calls = 0;
    Checks checks;
    Json oracle;
    TurnOutcome outcome;
    std::vector<TurnOutcome> earlier;
};

TurnOutcome replay(World& world, const Json& oracle) {
    TurnOutcome outcome{.answer = oracle["answer"].get<std::string>(),
                        .reasoning = oracle["reasoning"].get<std::string>(),
                        .calls = oracle["calls"].size(),
                        .before = world.files().value()};
    for (const Json& call : oracle["calls"])
        EXPECT_EQ(world.run_tool(call["name"].get<std::string>(), call["arguments"]).value(),
                  call["result"].get<std::string>())
            << dump_json(call);
    outcome.after = world.files().value();
    return outcome;
}

std::vector<OracleTurn> replay_all(ShellMode mode) {
    const Json set = json(read_file("tests/golden/toolworld_oracle.json", 1 << 20).value());
    std::vector<OracleTurn> turns;
    for (const Json& session : set["sessions"]) {
        FileTexts files;
        for (const auto& [path, text] : session["files"].items())
            files[path] = text.get<std::string>();
        World world = make_world(files, mode);
        std::vector<TurnOutcome> earlier;
        for (const Json& turn : session["turns"]) {
            turns.push_back({.kind = turn["kind"].get<std::string>(),
                             .calls = turn["calls"].get<size_t>(),
                             .checks = Checks::from_json(turn["checks"], earlier.size()).value(),
                             .oracle = turn["oracle"],
                             .outcome = replay(world, turn["oracle"]),
                             .earlier = earlier});
            earlier.push_back(turns.back().outcome);
        }
    }
    return turns;
}

void expect_solved(const OracleTurn& turn) {
    EXPECT_EQ(failures(turn.calls, turn.checks, turn.outcome, turn.earlier),
              std::vector<std::string>())
        << turn.kind << ": " << turn.outcome.answer;
}

TEST(Oracle, EveryResultIsEqualAndEveryTurnSolved) {
    const std::vector<OracleTurn> turns = replay_all(best_shell_mode());
    ASSERT_GT(turns.size(), 60u);
    std::set<std::string> tools, kinds;
    for (const OracleTurn& turn : turns) {
        expect_solved(turn);
        kinds.insert(turn.kind);
        for (const Json& call : turn.oracle["calls"]) tools.insert(call["name"].get<std::string>());
    }
    EXPECT_EQ(tools.size(), 6u);
    EXPECT_GT(kinds.size(), 20u);
}

TEST(Oracle, TheListedCommandsSuffice) {
    for (const OracleTurn& turn : replay_all(ShellMode::kListed)) expect_solved(turn);
}

TEST(Oracle, ChangedOutcomesFail) {
    size_t mutants = 0;
    for (const OracleTurn& turn : replay_all(best_shell_mode())) {
        const auto expect_failure = [&](const TurnOutcome& outcome, const char* what) {
            ++mutants;
            EXPECT_FALSE(failures(turn.calls, turn.checks, outcome, turn.earlier).empty())
                << turn.kind << ": " << what << ": " << outcome.answer;
        };
        const Checks& checks = turn.checks;
        TurnOutcome changed = turn.outcome;
        changed.answer = "i cannot say.";
        if (!checks.answer.empty() || checks.recall) expect_failure(changed, "says nothing");
        changed.answer = "yes.";
        if (!checks.any.empty()) expect_failure(changed, "says none of them");
        for (const std::string& text : checks.answer) {
            changed.answer = turn.outcome.answer;
            for (size_t at = 0; (at = changed.answer.find(text, at)) != std::string::npos; at += 2)
                changed.answer.insert(at, 1, '7');
            expect_failure(changed, "a digit too many");
        }
        changed = turn.outcome;
        changed.after["stray.txt"] = "x\n";
        expect_failure(changed, "a stray file");
        changed = turn.outcome;
        changed.after = changed.before;
        if (!checks.files.empty()) expect_failure(changed, "nothing done");
        changed = turn.outcome;
        changed.calls = 1;
        if (turn.calls == 0) expect_failure(changed, "a call for nothing");
        changed = turn.outcome;
        changed.reasoning = "i think.";
        if (checks.reasoning) expect_failure(changed, "chooses nothing");
        changed = turn.outcome;
        if (checks.reasoning) {
            changed.answer = changed.reasoning;
            expect_failure(changed, "tells the secret");
        }
        if (checks.recall && !checks.recall->options.empty()) {
            for (const std::string& option : checks.recall->options)
                changed.answer.append(" ").append(option);
            expect_failure(changed, "names them all");
        }
    }
    EXPECT_GT(mutants, 150u);
}

TEST(Judge, OccursWhole) {
    EXPECT_TRUE(occurs("blue", "It is Blue."));
    EXPECT_TRUE(occurs("blue", "bluer blue"));
    EXPECT_FALSE(occurs("blue", "bluer"));
    EXPECT_FALSE(occurs("12", "312 121 012"));
    EXPECT_TRUE(occurs("12", "-12"));
    EXPECT_TRUE(occurs("a.txt", "see src/a.txt"));
    EXPECT_FALSE(occurs("a.txt", "axtxt"));
    EXPECT_TRUE(occurs("blue", "\u00e9blue\u00e9"));  // only ASCII counts as a neighbour
    EXPECT_FALSE(occurs("long text", "long"));
}

TEST(Judge, WhatIsNotThereCannotBeRemoved) {
    const Checks removes = Checks::from_json(json(R"({"files": {"a": null}})"), 0).value();
    EXPECT_TRUE(failures(1, removes, {.before = {{"a", "x\n"}}}, {}).empty());
    EXPECT_FALSE(failures(1, removes, {}, {}).empty());
}

TEST(Judge, LastChoiceCounts) {
    const Checks chooses =
        Checks::from_json(json(R"({"reasoning": {"options": ["oak", "elm"]}})"), 0).value();
    const Checks asks =
        Checks::from_json(json(R"({"recall": {"turn": 0, "options": ["oak", "elm"]}})"), 1).value();
    const TurnOutcome first{.answer = "done", .reasoning = "oak? no, elm. oak-wood. Elm it is"};
    EXPECT_TRUE(failures(0, chooses, first, {}).empty());
    EXPECT_TRUE(failures(0, asks, {.answer = "It was elm."}, {first}).empty());
    EXPECT_FALSE(failures(0, asks, {.answer = "It was oak."}, {first}).empty());
    EXPECT_FALSE(failures(0, asks, {.answer = "It was elm, not oak."}, {first}).empty());
}

TEST(Judge, NumbersAreWhole) {
    const Checks chooses = Checks::from_json(json(R"({"reasoning": {"digits": 2}})"), 0).value();
    const Checks asks =
        Checks::from_json(json(R"({"recall": {"turn": 0, "digits": 2}})"), 1).value();
    const TurnOutcome first{.answer = "done", .reasoning = "123, 45 or 67? 67x 8 90a"};
    EXPECT_TRUE(failures(0, chooses, first, {}).empty());
    EXPECT_TRUE(failures(0, asks, {.answer = "67"}, {first}).empty());
    EXPECT_FALSE(failures(0, asks, {.answer = "45"}, {first}).empty());
}

TEST(Judge, RefusesBadChecks) {
    for (const char* bad :
         {R"([])", R"({"answer": "x"})", R"({"answer": [1]})", R"({"files": []})",
          R"({"files": {"a": 1}})", R"({"reasoning": {}})", R"({"reasoning": {"digits": 0}})",
          R"({"recall": {"turn": 2, "digits": 2}})", R"({"recall": {"digits": 2}})"})
        EXPECT_FALSE(Checks::from_json(json(bad), 2)) << bad;
}

}  // namespace
}  // namespace baleen::agent
