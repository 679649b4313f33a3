#include "sandbox/log/normalise.h"

#include <utility>

#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

using Cases = std::vector<std::pair<std::string, std::string>>;

void expect_all(const Normalisers& normalisers, const Cases& cases) {
    for (const auto& [text, wanted] : cases) EXPECT_EQ(normalise(text, normalisers), wanted);
}

TEST(Normalise, Times) {
    expect_all({.times = true}, {
                                    {"2026-01-31", "<time>"},
                                    {"2026-01-31T10:11:12.345Z done", "<time> done"},
                                    {"2026-01-31 10:11:12+0100", "<time>"},
                                    {"2026/01/31 10:11:12,500 INFO", "<time> INFO"},
                                    {"at 10:11:12.5, then 9:05", "at <time>, then <time>"},
                                    {"Jan  5 12:34 file", "<time> <time> file"},
                                    {"== 1 passed in 0.03s ==", "= 1 passed in <time> ="},
                                    {"real\t0m0.003s\n", "real\t<time>\n"},
                                    {"took 12 ms", "took <time>"},
                                    {"took 3 seconds", "took <time>"},
                                    {"0.5 \xC2\xB5s", "<time>"},
                                    {"seed 1767225600", "seed <time>"},
                                    {"t=1767225600.123456", "t=<time>"},
                                    {"1767225600123 1767225600123456789", "<time> <time>"},
                                    // Not times:
                                    {"3 shells, 12 msgs, 7 sx", "3 shells, 12 msgs, 7 sx"},
                                    {"version 1.2.3 of 12345", "version 1.2.3 of 12345"},
                                    {"1234-56-78x x2026-01-31", "1234-56-78x x2026-01-31"},
                                    {"2767225600 17672256001", "2767225600 17672256001"},
                                    {"ratio 1:2, janitor 5", "ratio 1:2, janitor 5"},
                                    {"==  ==  no time here", "==  ==  no time here"},
                                });
}

TEST(Normalise, LinesWithTimesLoseTheirPadding) {
    const Normalisers times = {.times = true};
    EXPECT_EQ(normalise("===== 1 passed in 0.03s =====\n", times),
              normalise("==== 1 passed in 10.03s =====\n", times));
    EXPECT_EQ(normalise("a    b\n0.1s   c\n", times), "a    b\n<time> c\n");
}

TEST(Normalise, Pids) {
    expect_all({.pids = true},
               {
                   {"pid 12 PID=34 pid: 56", "pid <pid> PID=<pid> pid: <pid>"},
                   {"process 77 died", "process <pid> died"},
                   {"sshd[1234]: ok", "sshd[<pid>]: ok"},
                   {"/proc/99/maps", "/proc/<pid>/maps"},
                   {"[1] 4242\n", "[1] <pid>\n"},
                   // Not pids:
                   {"a[i] [12] rapid 5 pids 6 pid12", "a[i] [12] rapid 5 pids 6 pid12"},
                   {"x [1] 4242", "x [1] 4242"},
                   {"12345", "12345"},
               });
}

TEST(Normalise, TemporaryNames) {
    expect_all({.temporary_names = true},
               {
                   {"/tmp/abc/file", "/tmp/<temp>/file"},
                   {"open '/var/tmp/x.y-z'", "open '/var/tmp/<temp>'"},
                   {"dir/tmpk3x_9ab/x", "dir/<temp>/x"},
                   {"tmp.XyZ123456", "<temp>"},
                   // Not temporary:
                   {"/home/tmp/abc tmp tmpfiles tmp/x", "/home/tmp/abc tmp tmpfiles tmp/x"},
                   {"/tmp/", "/tmp/"},
               });
}

TEST(Normalise, Addresses) {
    expect_all({.addresses = true},
               {
                   {"<object at 0x7f3a5c0b2d90>", "<object at <address>>"},
                   {"00007ffd1234abcd 7f3a5c0b2d90-", "<address> <address>-"},
                   // Not addresses:
                   {"0x12 0xzz deadbeefcafe 1234567890abc", "0x12 0xzz deadbeefcafe 1234567890abc"},
                   {"commit 7f3a5c0b2d907f3a5c0b2d907f3a5c0b2d90abcd",
                    "commit 7f3a5c0b2d907f3a5c0b2d907f3a5c0b2d90abcd"},
               });
}

TEST(Normalise, OnlyWhatIsDeclared) {
    const std::string text = "pid 12 at 10:11:12 in /tmp/x1 with 0x7f3a5c0b2d90\n";
    EXPECT_EQ(normalise(text, {}), text);
    EXPECT_EQ(
        normalise(text, {.times = true, .pids = true, .temporary_names = true, .addresses = true}),
        "pid <pid> at <time> in /tmp/<temp> with <address>\n");
    EXPECT_EQ(normalise("", {.times = true}), "");
    EXPECT_EQ(normalise("\n\n", {.times = true}), "\n\n");
    EXPECT_EQ(normalise(std::string("\0\xFF", 2), {.times = true}), std::string("\0\xFF", 2));
}

TEST(Normalise, NamesAreKnownOrRefused) {
    const auto all = parse_normalisers({"times", "pids", "temporary_names", "addresses"}).value();
    EXPECT_TRUE(all.times && all.pids && all.temporary_names && all.addresses);
    EXPECT_FALSE(parse_normalisers({}).value().any());
    EXPECT_FAILS(parse_normalisers({"times", "colours"}), "normaliser 'colours'");
}

// Whatever the bytes: it ends and keeps the lines apart.
TEST(Normalise, AnyBytes) {
    const Normalisers all = {
        .times = true, .pids = true, .temporary_names = true, .addresses = true};
    const std::string alphabet = "0129:-./ tmpsnijaTZ[]x\n=_{\xC2\xB5";
    uint32_t state = 1;
    for (int round = 0; round < 300; ++round) {
        std::string text;
        for (int i = 0; i < 200; ++i) {
            state = state * 1664525u + 1013904223u;
            text += alphabet[(state >> 16) % alphabet.size()];
        }
        const std::string once = normalise(text, all);
        EXPECT_EQ(std::ranges::count(once, '\n'), std::ranges::count(text, '\n'));
    }
}

}  // namespace
}  // namespace baleen::sandbox
