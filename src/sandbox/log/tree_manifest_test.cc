#include "sandbox/log/tree_manifest.h"

#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

const std::string kDigest(64, 'a');

std::vector<TreeEntry> sample() {
    return {
        {'d', 0755, 0, 0, "-", "a"},
        {'f', 0644, 1000, 100, kDigest, "a/b c\n\\\xFF"},
        {'l', 0777, 0, 0, "../to here", "a/link"},
        {'c', 0600, 0, 0, "0:0", "a/whiteout"},
        {'p', 0600, 0, 0, "-", "pipe"},
        {'s', 04755, 0, 0, "-", "socket"},
    };
}

TEST(TreeManifest, HasOneLinePerEntryInOrder) {
    std::vector<TreeEntry> entries = sample();
    std::ranges::reverse(entries);
    const std::string text = write_manifest(entries).value();
    EXPECT_EQ(text,
              "d 0755 0 0 - a\n"
              "f 0644 1000 100 " +
                  kDigest +
                  " a/b\\x20c\\x0a\\x5c\\xff\n"
                  "l 0777 0 0 ../to\\x20here a/link\n"
                  "c 0600 0 0 0:0 a/whiteout\n"
                  "p 0600 0 0 - pipe\n"
                  "s 4755 0 0 - socket\n");
    EXPECT_EQ(read_manifest(text).value(), sample());
    EXPECT_EQ(write_manifest({}).value(), "");
    EXPECT_TRUE(read_manifest("").value().empty());
}

TEST(TreeManifest, RefusesEntriesThatHaveNoPlace) {
    const auto refuses = [](const TreeEntry& entry) { return !write_manifest({entry}); };
    for (const std::string& path :
         {std::string(), std::string("/a"), std::string("a/"), std::string("a//b"),
          std::string("."), std::string("a/.."), std::string("../a"), std::string("a\0b", 3)})
        EXPECT_TRUE(refuses({'d', 0755, 0, 0, "-", path})) << path;
    EXPECT_TRUE(refuses({'x', 0644, 0, 0, "-", "a"}));
    EXPECT_TRUE(refuses({'d', 010000, 0, 0, "-", "a"}));
    EXPECT_TRUE(refuses({'d', 0755, 0, 0, "x", "a"}));
    EXPECT_TRUE(refuses({'f', 0644, 0, 0, "-", "a"}));
    EXPECT_TRUE(refuses({'l', 0777, 0, 0, "", "a"}));
    EXPECT_TRUE(refuses({'c', 0600, 0, 0, "0", "a"}));
    EXPECT_TRUE(refuses({'c', 0600, 0, 0, "0:x", "a"}));
    EXPECT_FAILS(write_manifest({sample()[0], sample()[0]}), "twice");
}

TEST(TreeManifest, EveryChangedByteIsAnotherManifestOrNone) {
    const std::string text = write_manifest(sample()).value();
    for (size_t at = 0; at < text.size(); ++at) {
        EXPECT_TRUE(at == 0 || text[at - 1] == '\n' || !read_manifest(text.substr(0, at)));
        for (const char other : {' ', '\n', '0', '8', 'x', 'A', '\\', '/', '-', '\xFF'}) {
            std::string changed = text;
            changed[at] = other;
            const auto read = read_manifest(changed);
            if (!read) continue;
            EXPECT_EQ(write_manifest(*read).value(), changed);
            EXPECT_TRUE(changed == text || *read != sample());
        }
    }
}

TEST(TreeManifest, NamesThePathsThatDiffer) {
    std::vector<TreeEntry> after = sample();
    after[1].mode = 0600;
    after[1].content = std::string(64, 'b');
    after[2].gid = 5;
    after[3] = {'f', 0600, 0, 0, kDigest, "a/whiteout"};
    after.erase(after.begin() + 4);
    after.push_back({'d', 0755, 0, 0, "-", "zz"});
    EXPECT_EQ(compare_trees(sample(), after),
              (std::vector<PathDifference>{{"a/b\\x20c\\x0a\\x5c\\xff", "mode, content"},
                                           {"a/link", "owner"},
                                           {"a/whiteout", "type, content"},
                                           {"pipe", "missing"},
                                           {"zz", "new"}}));
    EXPECT_TRUE(compare_trees(sample(), sample()).empty());
    EXPECT_EQ(compare_trees({}, sample()).size(), sample().size());
}

}  // namespace
}  // namespace baleen::sandbox
