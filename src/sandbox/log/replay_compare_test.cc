#include "sandbox/log/replay_compare.h"

#include "sandbox/log/log_fixture.h"

namespace baleen::sandbox {
namespace {

class ReplayTest : public ::testing::Test {
  protected:
    std::optional<OpDifference> compare(const OpResult& recorded, const OpResult& again,
                                        const ReplayOptions& options = {},
                                        bool is_volatile = false) {
        Intent intent = shell_intent("x", 0);
        intent.is_volatile = is_volatile;
        return compare_op(7, intent, recorded, again, *blobs_, options).value();
    }
    OpResult with_layer(const std::vector<TreeEntry>& tree, bool is_kept) {
        OpResult result = text_result("x");
        const std::string manifest = write_manifest(tree).value();
        result.layer = LayerState{.digest = sha256(manifest), .manifest = {}};
        if (is_kept) result.layer->manifest = blobs_->keep(manifest).value();
        return result;
    }
    TempFolder folder_;
    std::unique_ptr<BlobStore> blobs_ = BlobStore::open(folder_ / "blobs").value();
};

TEST_F(ReplayTest, TheSameResultsDoNotDiffer) {
    OpResult again = text_result("x\n");
    again.duration_ns = 1;
    again.cause = "other";
    EXPECT_FALSE(compare(text_result("x\n"), again));
}

TEST_F(ReplayTest, ExitsAreCompared) {
    const OpResult before = text_result("x");
    OpResult after = before;
    after.exit_code = 1;
    EXPECT_EQ(compare(before, after)->kind, DifferenceKind::kExit);
    EXPECT_EQ(compare(before, after)->op, 7u);
    EXPECT_EQ(compare(before, after)->detail, "exit code 0, again exit code 1");
    after.exit_code.reset();
    after.signal = 9;
    after.timed_out = true;
    EXPECT_EQ(compare(before, after)->detail, "exit code 0, again signal 9, timed out");
    after = before;
    after.timed_out = true;
    EXPECT_TRUE(compare(before, after));
}

TEST_F(ReplayTest, OutputsAreComparedInTurnAndTheLineIsNamed) {
    OpResult before = text_result("a\nb\nc\n");
    OpResult after = text_result("a\nB\x01\nc\n");
    after.standard_error = whole_output(StoredBytes::in_record("e"));
    EXPECT_EQ(compare(before, after)->kind, DifferenceKind::kStandardOutput);
    EXPECT_EQ(compare(before, after)->detail, "6 bytes, again 7; line 2: 'b', again 'B\\x01'");
    after.standard_output = before.standard_output;
    EXPECT_EQ(compare(before, after)->kind, DifferenceKind::kStandardError);
    EXPECT_EQ(compare(before, after)->detail, "0 bytes, again 1; line 1: '', again 'e'");
    EXPECT_EQ(compare(text_result("a\n"), text_result("a\n\n"))->detail,
              "2 bytes, again 3; line 2: '', again ''");
    before = after = text_result("x");
    before.answer = "{\"size\":1}";
    after.answer = "{\"size\":2}";
    EXPECT_EQ(compare(before, after)->kind, DifferenceKind::kAnswer);
}

TEST_F(ReplayTest, LargeOutputsComeFromTheBlobStore) {
    OpResult before, after;
    const std::string common(50000, 'y');
    before.standard_output = whole_output(blobs_->keep(common + "\nend 1\n").value());
    after.standard_output = whole_output(blobs_->keep(common + "\nend 2\n").value());
    EXPECT_NE(compare(before, after)->detail.find("line 2: 'end 1', again 'end 2'"),
              std::string::npos);
    EXPECT_FALSE(compare(before, before));
    std::filesystem::remove_all(folder_ / "blobs/sha256");
    EXPECT_FALSE(compare(before, before));  // the digests suffice
    EXPECT_FALSE(compare_op(7, {}, before, after, *blobs_, {}).has_value());
}

TEST_F(ReplayTest, DeclaredNormalisersApply) {
    const OpResult before = text_result("1 passed in 0.03s (pid 12)\n");
    const OpResult after = text_result("1 passed in 10.1s (pid 9)\n");
    EXPECT_TRUE(compare(before, after));
    EXPECT_TRUE(compare(before, after, {.normalisers = {.times = true}}));
    EXPECT_FALSE(compare(before, after, {.normalisers = {.times = true, .pids = true}}));
    EXPECT_TRUE(compare(before, text_result("2 passed in 1s (pid 9)\n"),
                        {.normalisers = {.times = true, .pids = true}}));
}

TEST_F(ReplayTest, WhatWasNotKeptWholeIsComparedByDigest) {
    OpResult before;
    before.standard_output = {
        .kept = StoredBytes::in_record("ht"), .head = 1, .total = 1000, .digest = sha256("first")};
    OpResult after = before;
    EXPECT_FALSE(compare(before, after));
    after.standard_output.digest = sha256("second");
    EXPECT_EQ(compare(before, after, {.normalisers = {.times = true}})->detail,
              "1000 bytes, again 1000; they were not kept whole");
}

TEST_F(ReplayTest, VolatileOpsAreComparedByExitAlone) {
    OpResult after = text_result("y");
    EXPECT_FALSE(compare(text_result("x"), after, {}, true));
    after.exit_code = 2;
    EXPECT_TRUE(compare(text_result("x"), after, {}, true));
}

TEST_F(ReplayTest, LayersAreComparedAtLevelTwo) {
    const std::string digest(64, 'a');
    std::vector<TreeEntry> tree;
    for (int i = 0; i < 150; ++i)
        tree.push_back({'f', 0644, 0, 0, digest, fmt::format("f{:03}", i)});
    std::vector<TreeEntry> other = tree;
    other[3].mode = 0600;
    const OpResult before = with_layer(tree, true), after = with_layer(other, true);
    const ReplayOptions layers = {.level = ReplayLevel::kLayers};
    EXPECT_FALSE(compare(before, after));
    EXPECT_FALSE(compare(before, before, layers));
    const OpDifference one = *compare(before, after, layers);
    EXPECT_EQ(one.kind, DifferenceKind::kFiles);
    EXPECT_EQ(one.op, 7u);
    EXPECT_EQ(one.paths, (std::vector<PathDifference>{{"f003", "mode"}}));
    // Without manifests it is still known that they differ.
    const OpDifference unnamed = *compare(before, with_layer(other, false), layers);
    EXPECT_TRUE(unnamed.paths.empty());
    EXPECT_EQ(unnamed.detail,
              "layer " + hex(before.layer->digest) + ", again " + hex(after.layer->digest));
    const OpDifference all = *compare(before, with_layer({}, true), layers);
    EXPECT_EQ(all.num_paths, 150u);
    EXPECT_EQ(all.paths.size(), kReportedPathsMax);
}

TEST_F(ReplayTest, TheReportNamesTheFirstOpThatDiffers) {
    ReplayReport report;
    const ReplayOptions layers = {.level = ReplayLevel::kLayers};
    const auto add = [&](uint64_t op, const OpResult& before, const OpResult& after,
                         bool is_volatile) {
        Intent intent = shell_intent("x", 0);
        intent.is_volatile = is_volatile;
        report.add(op, intent, before, after,
                   compare_op(op, intent, before, after, *blobs_, layers).value(), layers.level);
    };
    add(2, text_result("a"), text_result("a"), false);
    EXPECT_TRUE(report.is_reproducible());
    add(4, text_result("a"), text_result("b"), true);
    add(6, text_result("a"), text_result("b"), false);
    OpResult failed = text_result("a");
    failed.exit_code = 1;
    add(8, text_result("a"), failed, false);
    EXPECT_FALSE(report.is_reproducible());
    EXPECT_EQ(report.num_ops(), 4u);
    EXPECT_EQ(report.num_different(), 2u);
    EXPECT_EQ(report.num_volatile(), 1u);
    EXPECT_EQ(report.num_without_layer(), 3u);
    EXPECT_EQ(report.first()->op, 6u);
    EXPECT_EQ(name_of(report.first()->kind), "stdout");
}

}  // namespace
}  // namespace baleen::sandbox
