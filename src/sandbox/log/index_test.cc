#include "sandbox/log/index.h"

#include <thread>

#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

TrajectoryRow row(const std::string& id) {
    return {.id = id,
            .name = "name of " + id,
            .created_ns = 1'700'000'000'000'000'000,
            .sandbox = "n-1-2-" + id,
            .last_seq = 7,
            .epoch = 2,
            .status = "open",
            .labels = {{"job", "j1"}, {"step", id}},
            .segments = 3,
            .last_segment_bytes = 12345};
}

std::vector<std::string> ids(const std::vector<TrajectoryRow>& rows) {
    std::vector<std::string> all;
    for (const TrajectoryRow& one : rows) all.push_back(one.id);
    return all;
}

using Ids = std::vector<std::string>;

TEST(TrajectoryIndex, GivesBackWhatWasPut) {
    const TempFolder folder;
    const auto index = TrajectoryIndex::open(folder / "i.sqlite").value();
    EXPECT_FALSE(index->find("a").value());
    TrajectoryRow odd = row("b");
    odd.name = std::string("quote ' \" \0 \xC3\xA9", 14);
    odd.labels = {{"'; DROP TABLE labels; --", ""}};
    odd.status = "damaged";
    odd.detail = "seg-00000001.log: offset 64: ...";
    ASSERT_HOLDS(index->put({row("a"), odd}));
    EXPECT_EQ(*index->find("a").value(), row("a"));
    EXPECT_EQ(*index->find("b").value(), odd);
    odd.labels = {{"new", "1"}};
    odd.last_seq = 8;
    ASSERT_HOLDS(index->put({odd}));
    EXPECT_EQ(*index->find("b").value(), odd);
    EXPECT_EQ(index->count().value(), 2u);
    ASSERT_HOLDS(index->remove({"a", "zzz"}));
    EXPECT_FALSE(index->find("a").value());
    EXPECT_EQ(index->count().value(), 1u);
}

TEST(TrajectoryIndex, ListsByFilterInOrderAndByPage) {
    const TempFolder folder;
    const auto index = TrajectoryIndex::open(folder / "i.sqlite").value();
    std::vector<TrajectoryRow> rows;
    for (const char* id : {"c", "a", "e", "b", "d"}) rows.push_back(row(id));
    rows[0].status = "sealed";    // c
    rows[1].labels.erase("job");  // a
    rows[2].sandbox = "other";    // e
    ASSERT_HOLDS(index->put(rows));
    const auto list = [&](const TrajectoryFilter& filter) {
        return ids(index->list(filter).value());
    };
    EXPECT_EQ(list({}), (Ids{"a", "b", "c", "d", "e"}));
    EXPECT_EQ(list({.status = "sealed"}), (Ids{"c"}));
    EXPECT_EQ(list({.sandbox = "other"}), (Ids{"e"}));
    EXPECT_EQ(list({.label_key = "job", .label_value = "j1"}), (Ids{"b", "c", "d", "e"}));
    EXPECT_EQ(list({.label_key = "job", .label_value = "j2"}), Ids{});
    EXPECT_EQ(list({.status = "open", .label_key = "step", .label_value = "d"}), (Ids{"d"}));
    EXPECT_EQ(list({.rows_max = 2}), (Ids{"a", "b"}));
    EXPECT_EQ(list({.after = "b", .rows_max = 2}), (Ids{"c", "d"}));
    EXPECT_EQ(list({.after = "e"}), Ids{});
}

TEST(TrajectoryIndex, KeepsItsRowsAndThrowsDamagedFilesAway) {
    const TempFolder folder;
    const std::string path = folder / "i.sqlite";
    {
        const auto index = TrajectoryIndex::open(path).value();
        std::vector<TrajectoryRow> rows;
        for (int i = 0; i < 300; ++i) rows.push_back(row(fmt::format("{:032}", i)));
        ASSERT_HOLDS(index->put(rows));
    }
    EXPECT_EQ(TrajectoryIndex::open(path).value()->count().value(), 300u);
    const std::string whole = read_all(path);
    const std::vector<std::string> broken = {
        "no database at all",
        whole.substr(0, 100),
        whole.substr(0, whole.size() / 2),
        std::string(whole.size(), 'x'),
        whole.substr(0, 4096) + std::string(whole.size() - 4096, '\xAA'),
    };
    for (const std::string& bytes : broken) {
        write_all(path, bytes);
        const auto index = TrajectoryIndex::open(path);
        ASSERT_TRUE(index) << index.error().message;
        EXPECT_EQ((*index)->count().value(), 0u);
        ASSERT_HOLDS((*index)->put({row("a")}));
    }
    // Another version's file.
    std::string other = whole;
    other[63] = 9;  // the last byte of user_version
    write_all(path, other);
    EXPECT_EQ(TrajectoryIndex::open(path).value()->count().value(), 0u);
    EXPECT_FALSE(TrajectoryIndex::open(folder / "no/such/folder"));
}

TEST(TrajectoryIndex, ThreadsMayUseItAtOnce) {
    const TempFolder folder;
    const auto index = TrajectoryIndex::open(folder / "i.sqlite").value();
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < 40; ++i) {
                    const std::string id = fmt::format("{}-{}", t, i);
                    index->put({row(id)}).value();
                    CHECK(index->find(id).value() == row(id));
                    CHECK(!index->list({.rows_max = 10}).value().empty());
                }
            });
    }
    EXPECT_EQ(index->count().value(), 160u);
}

}  // namespace
}  // namespace baleen::sandbox
