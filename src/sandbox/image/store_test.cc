// The store: publishing, listing, garbage, damage; every step of an import failed and crashed.
#include "sandbox/image/store.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "sandbox/image/store_fixture.h"

namespace baleen::sandbox::image {
namespace {

namespace fs = std::filesystem;

class Store : public TemporaryTest {
  protected:
    std::string sample_tar() const {
        return write("sample.tar", tar_of({{{.path = "etc/hello"}, "hello"},
                                           {{.path = "big"}, random_text(3'000'000, 4)}}));
    }
    ImageManifest imported(ImageStore& store, const std::string& name = "sample:1") const {
        return import_tar(store, {.ref = ref(name)}, sample_tar(), {}).value().manifest;
    }
};

std::vector<VerifyProblem> problems(const ImageStore& store) {
    return store.verify({}, {}, {}).value();
}

TEST_F(Store, ImportListsAndVerifies) {
    const auto store = open_store();
    EXPECT_TRUE(store->list().value().empty());
    const ImageManifest manifest = imported(*store);
    ASSERT_EQ(store->list().value().size(), 1U);
    EXPECT_EQ(store->list().value()[0].ref.text(), "sample:1");
    EXPECT_TRUE(problems(*store).empty());
    EXPECT_TRUE(store->has_layer(manifest.layers[0]));
    EXPECT_TRUE(same_image(store->manifest(ref("sample:1")).value(), manifest));
    EXPECT_EQ(store->manifest(ref("other")).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(ImageStore::open(path("none"), {}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store_files().size(), 3U);
}

TEST_F(Store, PublishedImagesDoNotChange) {
    const auto store = open_store();
    const ImageManifest first = imported(*store);
    EXPECT_EQ(imported(*store).layers, first.layers);  // the same again is fine
    const std::string other = write("other.tar", tar_of({{{.path = "x"}, "y"}}));
    const auto again = import_tar(*store, {.ref = ref("sample:1")}, other, {});
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().message.find("sample:1 is there already"), std::string::npos);
    EXPECT_EQ(store->manifest(ref("sample:1")).value().layers, first.layers);
}

TEST_F(Store, WithoutAVersionTheNewestIsMeant) {
    const auto store = open_store();
    imported(*store, "sample:b");
    const std::string other = write("other.tar", tar_of({{{.path = "x"}, "y"}}));
    ASSERT_TRUE(import_tar(*store, {.ref = ref("sample:a")}, other, {}));
    EXPECT_EQ(store->manifest(ref("sample")).value().ref.version, "a");
}

TEST_F(Store, GarbageIsWhatNobodyNames) {
    const auto store = open_store();
    const ImageManifest kept = imported(*store);
    const std::string other = write("other.tar", tar_of({{{.path = "x"}, "y"}}));
    const ImageManifest gone =
        import_tar(*store, {.ref = ref("other:1")}, other, {}).value().manifest;
    write("store/layers/.tmp-left-by-a-dead-writer", "bytes");
    ASSERT_TRUE(store->remove(ref("other:1")));
    EXPECT_EQ(store->remove(ref("other:1")).error().code, ErrorCode::kNotFound);

    const GcOptions young;
    EXPECT_TRUE(store->collect_garbage(young).value().empty()) << "nothing is an hour old";
    GcOptions options{.live_layers = {gone.layers[0].digest}, .min_age_s = 0};
    EXPECT_EQ(store->collect_garbage(options).value().size(), 1U) << "a sandbox lives on it";
    options.live_layers.clear();
    const auto planned = store->collect_garbage(options).value();
    EXPECT_EQ(planned.size(), 3U);
    EXPECT_TRUE(fs::exists(store->meta_path(gone.layers[0].digest))) << "a dry run";
    options.mode = GcOptions::Mode::kRemove;
    EXPECT_EQ(store->collect_garbage(options).value().size(), 3U);
    EXPECT_TRUE(store->collect_garbage(options).value().empty());
    EXPECT_FALSE(fs::exists(store->meta_path(gone.layers[0].digest)));
    EXPECT_TRUE(store->has_layer(kept.layers[0]));
    EXPECT_FALSE(fs::exists(path("store/manifests/other")));
    EXPECT_TRUE(problems(*store).empty());
}

TEST_F(Store, GarbageIsNotCollectedBesideADamagedManifest) {
    const auto store = open_store();
    imported(*store);
    write("store/manifests/sample/2.json", "{\"format\": 1");
    const auto collected = store->collect_garbage({.min_age_s = 0});
    ASSERT_FALSE(collected);
    EXPECT_NE(collected.error().message.find("sample:2"), std::string::npos);
    EXPECT_EQ(store->list().value().size(), 2U);
    EXPECT_EQ(problems(*store).size(), 1U);
}

TEST_F(Store, GarbageWaitsForWriters) {
    const auto store = open_store({.lock_timeout_ms = 50});
    imported(*store);
    {
        const StoreWriter writer = store->writer().value();
        EXPECT_EQ(store->collect_garbage({.min_age_s = 0}).error().code, ErrorCode::kExhausted);
        EXPECT_TRUE(store->writer()) << "writers do not exclude each other";
    }
    EXPECT_TRUE(store->collect_garbage({.min_age_s = 0}));
}

TEST_F(Store, DamagedBlobsAreFound) {
    const auto store = open_store();
    const ImageManifest manifest = imported(*store);
    const std::string& digest = manifest.layers[0].digest;
    const auto flip = [](const std::string& file, std::streamoff at) {
        std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
        stream.seekg(at);
        const char byte = static_cast<char>(stream.get() ^ 4);
        stream.seekp(at);
        stream.put(byte);
    };
    for (const std::streamoff at : {0, 1100, 5000}) {
        flip(store->meta_path(digest), at);
        EXPECT_EQ(store->load_layer(digest).error().code, ErrorCode::kCorrupt) << "before a mount";
        EXPECT_EQ(problems(*store).size(), 1U);
        flip(store->meta_path(digest), at);
    }
    flip(store->data_path(digest), 2'000'000);
    EXPECT_TRUE(store->load_layer(digest)) << "data is read on demand";
    ASSERT_EQ(problems(*store).size(), 1U);
    EXPECT_NE(problems(*store)[0].problem.find(".data: damaged"), std::string::npos);
    flip(store->data_path(digest), 2'000'000);
    EXPECT_TRUE(problems(*store).empty());
    fs::resize_file(store->data_path(digest), 4096);
    EXPECT_FALSE(store->load_layer(digest));
    fs::remove(store->data_path(digest));
    EXPECT_FALSE(store->load_layer(digest));
    EXPECT_EQ(problems(*store).size(), 1U);
}

TEST_F(Store, VerifyStopsWhenAsked) {
    const auto store = open_store();
    imported(*store);
    std::stop_source stop;
    const auto verified = store->verify(
        {}, [&](uint64_t, uint64_t) { stop.request_stop(); }, stop.get_token());
    EXPECT_EQ(verified.error().code, ErrorCode::kCancelled);
}

// What must hold whatever happened: no image, or all of it; the same import then succeeds; and
// after garbage collection nothing is left that is not needed.
void expect_whole(ImageStore& store, const std::string& tar, const std::string& step) {
    for (const ListedImage& image : store.list().value())
        EXPECT_TRUE(image.manifest) << step << ": " << image.problem;
    EXPECT_TRUE(problems(store).empty()) << step;
    const auto again = import_tar(store, {.ref = ref("sample:1")}, tar, {});
    ASSERT_TRUE(again) << step << ": " << again.error().message;
    EXPECT_TRUE(problems(store).empty()) << step;
    ASSERT_TRUE(store.collect_garbage({.mode = GcOptions::Mode::kRemove, .min_age_s = 0}));
    EXPECT_TRUE(problems(store).empty()) << step;
}

TEST_F(Store, EveryStepMayFail) {
    const std::string tar = sample_tar();
    size_t num_steps = 0;
    for (size_t failing = 0;; ++failing) {
        fs::remove_all(path("store"));
        size_t step_idx = 0;
        std::string failed;
        ImageStore::Options options{.open = ImageStore::Open::kCreate};
        options.before_step = [&](std::string_view step, const std::string&) -> Result<void> {
            if (step_idx++ != failing) return {};
            failed = step;
            return make_error(ErrorCode::kIo, "made to fail");
        };
        auto opened = ImageStore::open(path("store"), options);
        if (!opened) {
            expect_whole(*open_store(), tar, failed);
            continue;
        }
        ImageStore* const store = opened->get();
        const auto made = import_tar(*store, {.ref = ref("sample:1")}, tar, {});
        num_steps = step_idx;
        if (failed.empty()) break;
        EXPECT_FALSE(made) << failed;
        for (const std::string& file : store_files())
            EXPECT_EQ(file.find(".tmp-"), std::string::npos) << failed << " left " << file;
        expect_whole(*store, tar, failed);
        EXPECT_EQ(store_files().size(), 3U) << failed;
    }
    EXPECT_GE(num_steps, 12U);
}

TEST_F(Store, EveryStepMayBeTheLast) {
    const std::string tar = sample_tar();
    for (size_t last = 0;; ++last) {
        fs::remove_all(path("store"));
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            size_t step_idx = 0;
            const auto store = open_store(
                {.before_step = [&](std::string_view, const std::string&) -> Result<void> {
                    if (step_idx++ == last) ::_exit(9);
                    return {};
                }});
            ::_exit(import_tar(*store, {.ref = ref("sample:1")}, tar, {}) ? 0 : 1);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFEXITED(status));
        const auto store = open_store();
        expect_whole(*store, tar, fmt::format("step {}", last));
        EXPECT_EQ(store_files().size(), 3U) << "step " << last;
        if (WEXITSTATUS(status) == 0) break;
        ASSERT_EQ(WEXITSTATUS(status), 9);
    }
}

// A limit on the size of files makes write(2) fail as a full disk does, for any user.
TEST_F(Store, FullDiskIsAnErrorAndLeavesNothing) {
    const std::string tar = sample_tar();
    const auto store = open_store();
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit old{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
    const rlimit tight{1'500'000, old.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    const auto made = import_tar(*store, {.ref = ref("sample:1")}, tar, {});
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kExhausted);
    EXPECT_NE(made.error().message.find("cannot write"), std::string::npos);
    EXPECT_TRUE(store_files().empty());
    expect_whole(*store, tar, "full disk");
}

TEST_F(Store, ManyWritersAtOnce) {
    open_store();
    const std::string tar = sample_tar();
    const std::string other = write("other.tar", tar_of({{{.path = "x"}, "y"}}));
    std::vector<std::thread> threads;
    std::atomic<int> num_done = 0;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&, i] {
            const auto store = open_store();
            const std::string name = i % 2 == 0 ? "sample:1" : fmt::format("other:{}", i);
            num_done +=
                import_tar(*store, {.ref = ref(name)}, i % 2 == 0 ? tar : other, {}) ? 1 : 0;
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(num_done, 8);
    const auto store = open_store();
    EXPECT_TRUE(problems(*store).empty());
    EXPECT_EQ(store->list().value().size(), 5U);
    EXPECT_EQ(store_files().size(), 2U * 2 + 5);
}

TEST(Manifest, RoundTrip) {
    ImageManifest manifest{
        .ref = ref("a:1"), .kind = ImageKind::kToolkit, .platform = "linux/amd64"};
    const std::string digest(64, 'a');
    manifest.layers = {
        {.digest = digest, .meta_bytes = 8192, .num_implicit = 3, .is_root_opaque = true},
        {.digest = digest, .source_digest = digest, .source_chain = digest}};
    manifest.config = {{"PATH=/bin", "X=é"}, "app", "/srv", {"sh", "-c"}, {"a b"}};
    manifest.blobs = {digest};
    manifest.pack = PackRecord{"t-1", {digest}, {"*.o"}, {"a.o"}, 1};
    manifest.created_ns = 5;
    const ImageManifest again = parse_manifest(manifest_text(manifest)).value();
    EXPECT_EQ(manifest_text(again), manifest_text(manifest));
    EXPECT_EQ(again.layers, manifest.layers);
    EXPECT_EQ(again.config, manifest.config);
    EXPECT_EQ(again.pack, manifest.pack);
}

// Every value of a manifest replaced by every other type, and each key left out.
TEST(Manifest, WrongTypesAndMissingKeys) {
    ImageManifest manifest{.ref = ref("a:1")};
    manifest.layers = {{.digest = std::string(64, 'a')}};
    const std::string text = manifest_text(manifest);
    ASSERT_TRUE(parse_manifest(text));
    for (const char* key :
         {"format",   "name",        "version", "kind",   "platform",    "source",     "created_ns",
          "layers",   "config",      "blobs",   "digest", "meta_bytes",  "data_bytes", "entries",
          "implicit", "root_opaque", "env",     "user",   "working_dir", "entrypoint", "command"}) {
        const std::string quoted = fmt::format("\"{}\":", key);
        const size_t at = text.find(quoted);
        ASSERT_NE(at, std::string::npos) << key;
        std::string renamed = text;
        renamed[at + 1] = 'Z';
        EXPECT_FALSE(parse_manifest(renamed)) << key;
        for (const char* value : {"null", "-1", "1.5", "\"/\"", "[1]", "{}", "true"}) {
            std::string changed = text;
            changed.insert(at + quoted.size(), fmt::format(" {}, \"unused\":", value));
            const bool is_good =
                (std::string_view(value) == "true" && key == std::string("root_opaque")) ||
                (std::string_view(value) == "\"/\"" &&
                 (key == std::string("platform") || key == std::string("source") ||
                  key == std::string("user") || key == std::string("working_dir")));
            EXPECT_EQ(parse_manifest(changed).has_value(), is_good) << changed;
        }
    }
    for (size_t size = 0; size + 2 < text.size(); ++size)
        ASSERT_FALSE(parse_manifest(text.substr(0, size))) << size;
}

TEST(Manifest, References) {
    EXPECT_EQ(ref("python3:3.11-slim_x").version, "3.11-slim_x");
    EXPECT_EQ(ref("python3").version, "");
    for (const char* bad : {"", ":", "a:", ":1", "../x", "a/b", ".a", "A", "a:.b", "a:b/c", "a:b:c",
                            "-a", "a:-1", "a b"})
        EXPECT_FALSE(ImageRef::parse(bad)) << bad;
    EXPECT_FALSE(ImageRef::parse(std::string(129, 'a')));
}

TEST_F(Store, TextThatIsNoUtf8HasNoPlaceInAManifest) {
    const auto store = open_store();
    ImageManifest manifest{.ref = ref("a:1")};
    manifest.config.env = {"X=\xff"};
    EXPECT_EQ(store->writer().value().put_manifest(manifest).error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace baleen::sandbox::image
