// Stacks, merging of layers, the node's cache and its fallbacks. What layers show together is
// compared with what the kernel's overlayfs shows.
#include "sandbox/image/stack.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#include <random>

#include "sandbox/image/kernel_fixture.h"
#include "sandbox/image/layer_merge.h"

namespace baleen::sandbox::image {
namespace {

namespace fs = std::filesystem;

class Stack : public TemporaryTest {
  protected:
    // An image of one layer made by `fill`.
    template <typename Fill>
    ManifestLayer add_image(ImageStore& store, const std::string& name, ImageKind kind,
                            const Fill& fill, const ImageConfig& config = {}) {
        StoreWriter writer = store.writer().value();
        LayerDraft draft = writer.start_layer().value();
        LayerBuilder builder(draft.data);
        fill(builder);
        const BuiltLayer built = builder.finish().value();
        ImageManifest manifest{.ref = ref(name), .kind = kind, .config = config};
        manifest.layers.push_back(writer.publish_layer(std::move(draft), built).value());
        writer.put_manifest(manifest).value();
        return manifest.layers[0];
    }
};

auto file(const std::string& path, const std::string& content) {
    return [=](LayerBuilder& builder) {
        ASSERT_TRUE(builder.add({.path = path, .size = content.size()}));
        ASSERT_TRUE(builder.append(bytes_of(content)));
    };
}

TEST_F(Stack, BaseWorkspaceToolkitsInThisOrder) {
    const auto store = open_store();
    const auto base = add_image(
        *store, "base:1", ImageKind::kBase, file("b", "1"),
        {.env = {"PATH=/bin", "A=1"}, .user = "app", .entrypoint = {"e"}, .command = {"c"}});
    const auto work = add_image(*store, "work:1", ImageKind::kWorkspace, file("w", "1"),
                                {.env = {"A=2", "B=3"}, .working_dir = "/w"});
    const auto tool =
        add_image(*store, "tool:1", ImageKind::kToolkit, file("t", "1"), {.entrypoint = {"x"}});
    const ImageSpec spec{ref("base"), ref("work:1"), {ref("tool")}};
    const ImageStack stack = resolve_stack(*store, spec, {}).value();
    EXPECT_EQ(stack.layers, (std::vector<ManifestLayer>{base, work, tool}));
    EXPECT_EQ(stack.config.env, (std::vector<std::string>{"PATH=/bin", "A=2", "B=3"}));
    EXPECT_EQ(stack.config.user, "app");
    EXPECT_EQ(stack.config.working_dir, "/w");
    EXPECT_EQ(stack.config.entrypoint, std::vector<std::string>{"x"});
    EXPECT_TRUE(stack.config.command.empty());
    EXPECT_EQ(stack.images[2].text(), "tool:1");
    EXPECT_EQ(resolve_stack(*store, {ref("work")}, {}).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(resolve_stack(*store, {ref("none")}, {}).error().code, ErrorCode::kNotFound);
    fs::remove(store->data_path(work.digest));
    EXPECT_EQ(resolve_stack(*store, spec, {}).error().code, ErrorCode::kCorrupt);
}

TEST_F(Stack, AnOpaqueRootDropsWhatIsBelow) {
    const auto store = open_store();
    add_image(*store, "base:1", ImageKind::kBase, file("b", "1"));
    const auto work = add_image(*store, "work:1", ImageKind::kWorkspace, [](LayerBuilder& builder) {
        ASSERT_TRUE(builder.make_opaque(""));
    });
    EXPECT_TRUE(work.is_root_opaque);
    EXPECT_EQ(resolve_stack(*store, {ref("base"), ref("work"), {}}, {}).value().layers,
              std::vector<ManifestLayer>{work});
}

TEST_F(Stack, ALayerTwiceIsMountedOnce) {
    const auto store = open_store();
    const auto base = add_image(*store, "base:1", ImageKind::kBase, file("b", "1"));
    const auto tool = add_image(*store, "tool:1", ImageKind::kToolkit, file("t", "1"));
    add_image(*store, "tool:2", ImageKind::kToolkit, file("t", "1"));
    EXPECT_EQ(
        resolve_stack(*store, {ref("base"), {}, {ref("tool:1"), ref("tool:2")}}, {}).value().layers,
        (std::vector<ManifestLayer>{base, tool}));
}

TEST(PlanMerges, FewestBytes) {
    using Ranges = std::vector<MergeRange>;
    EXPECT_EQ(plan_merges({1, 2, 3}, 3), Ranges{});
    EXPECT_EQ(plan_merges({9, 1, 2, 9}, 3), (Ranges{{1, 3}}));
    EXPECT_EQ(plan_merges({1, 1, 9, 1, 1}, 3), (Ranges{{0, 2}, {3, 5}}));
    EXPECT_EQ(plan_merges({5, 5, 5}, 1), (Ranges{{0, 3}}));
    EXPECT_EQ(plan_merges({5, 0, 0, 0, 5}, 3), (Ranges{{1, 4}}));
    // Against all ways, for small numbers.
    std::mt19937 random(3);
    for (int round = 0; round < 200; ++round) {
        std::vector<uint64_t> bytes(2 + random() % 7);
        for (uint64_t& b : bytes) b = random() % 20;
        const size_t num_max = 1 + random() % (bytes.size() - 1);
        uint64_t best = UINT64_MAX;
        for (uint32_t cuts = 0; cuts < 1U << (bytes.size() - 1); ++cuts) {
            size_t num_layers = 1;
            uint64_t copied = 0;
            uint64_t run = bytes[0];
            size_t run_layers = 1;
            const auto end_run = [&] { copied += run_layers > 1 ? run : 0; };
            for (size_t i = 1; i < bytes.size(); ++i) {
                if ((cuts >> (i - 1) & 1) != 0) {
                    end_run();
                    run = run_layers = 0;
                    ++num_layers;
                }
                run += bytes[i];
                ++run_layers;
            }
            end_run();
            if (num_layers <= num_max) best = std::min(best, copied);
        }
        uint64_t planned = 0;
        size_t left = bytes.size();
        for (const MergeRange& range : plan_merges(bytes, num_max)) {
            for (size_t i = range.begin; i < range.end; ++i) planned += bytes[i];
            left -= range.end - range.begin - 1;
        }
        ASSERT_EQ(planned, best);
        ASSERT_LE(left, num_max);
    }
}

TEST_F(Stack, MergedLayersKeepMarksLinksAndHoles) {
    const auto store = open_store();
    const auto lower = add_image(*store, "l:1", ImageKind::kBase, [](LayerBuilder& builder) {
        file("etc/a", "a")(builder);
        file("etc/b", "old")(builder);
        ASSERT_TRUE(
            builder.add({.path = "etc/link", .kind = EntryKind::kHardLink, .target = "etc/a"}));
        file("var/x", "x")(builder);
        file("file", "f")(builder);
        ASSERT_TRUE(builder.hide_lower("hidden"));
        ASSERT_TRUE(builder.add({.path = "zeros", .size = 9 << 20}));
        ASSERT_TRUE(builder.append_hole(9 << 20));
    });
    const auto upper = add_image(*store, "u:1", ImageKind::kBase, [](LayerBuilder& builder) {
        file("etc/b", "new")(builder);
        ASSERT_TRUE(builder.hide_lower("etc/gone"));
        ASSERT_TRUE(builder.make_opaque("var"));
        file("hidden/y", "y")(builder);
        file("file/z", "z")(builder);
    });
    const ManifestLayer merged = merge_layers(*store, {lower, upper}, {}).value();
    const LoadedLayer layer = store->load_layer(merged.digest).value();
    const std::string text = shown(layer);
    EXPECT_EQ(text.substr(0, text.find("/zeros")),
              "/ /etc /etc/a=a /etc/b=new /etc/gone! /etc/link->etc/a /file* /file/z=z /hidden* "
              "/hidden/y=y /var* ");
    EXPECT_EQ(layer.reader().data_bytes(), 4U * 4096) << "the hole takes no space";
    // Found again; kept while its inputs are; gone with them.
    const size_t num_files = store_files().size();
    EXPECT_EQ(merge_layers(*store, {lower, upper}, {}).value(), merged);
    EXPECT_EQ(store_files().size(), num_files);
    const GcOptions options{.mode = GcOptions::Mode::kRemove, .min_age_s = 0};
    EXPECT_TRUE(store->collect_garbage(options).value().empty());
    ASSERT_TRUE(store->remove(ref("u:1")));
    ASSERT_TRUE(store->collect_garbage(options));
    EXPECT_FALSE(store->has_layer(merged));
    EXPECT_TRUE(store->has_layer(lower));
}

TEST_F(Stack, MoreLowersThanTheKernelTakesAreMerged) {
    const auto store = open_store();
    StoreWriter writer = store->writer().value();
    ImageManifest manifest{.ref = ref("many:1")};
    for (int i = 0; i < 100; ++i) {
        LayerDraft draft = writer.start_layer().value();
        LayerBuilder builder(draft.data);
        file(fmt::format("f{}", i), "x")(builder);
        file("same", std::to_string(i))(builder);
        manifest.layers.push_back(
            writer.publish_layer(std::move(draft), builder.finish().value()).value());
    }
    ASSERT_TRUE(writer.put_manifest(manifest));
    const ImageStack stack = resolve_stack(*store, {ref("many")}, {}).value();
    EXPECT_EQ(stack.layers.size(), kLowersMax);
    std::set<std::string> names;
    std::string same;
    for (const ManifestLayer& layer : stack.layers) {
        const LoadedLayer loaded = store->load_layer(layer.digest).value();
        const ErofsInode root = loaded.reader().inode(loaded.reader().root_nid()).value();
        for (const ErofsDirent& dirent : loaded.reader().directory(root).value().entries)
            names.insert(dirent.name);
        const std::string text = shown(loaded);
        same = text.substr(text.find("/same="));
    }
    EXPECT_EQ(names.size(), 101U);
    EXPECT_EQ(same, "/same=99 ");
}

class StackKernel : public KernelTest {
  protected:
    // Everything below a folder: path, kind, mode, content.
    static std::string listing(const std::string& root) {
        std::vector<std::string> lines;
        for (const auto& at : fs::recursive_directory_iterator(root)) {
            struct stat status {};
            EXPECT_EQ(::lstat(at.path().c_str(), &status), 0);
            std::string line =
                fmt::format("{} {:o} {}", at.path().lexically_relative(root).string(),
                            status.st_mode, status.st_uid);
            if (at.is_regular_file()) line += " " + read_file(at.path().string(), 1 << 20).value();
            if (at.is_symlink()) line += " " + fs::read_symlink(at.path()).string();
            lines.push_back(line);
        }
        std::sort(lines.begin(), lines.end());
        std::string text;
        for (const std::string& line : lines) text += line + "\n";
        return text;
    }
};

// A small tree of few names, so that layers meet in every way.
TestLayer random_layer(std::mt19937& random) {
    MemorySink data;
    LayerBuilder builder(data);
    for (int i = 0; i < 12; ++i) {
        std::string path(1, static_cast<char>('a' + random() % 3));
        while (random() % 2 == 0) path += std::string("/") + static_cast<char>('a' + random() % 3);
        Result<void> done;
        switch (random() % 6) {
            case 0: done = builder.hide_lower(path); break;
            case 1: done = builder.make_opaque(path); break;
            case 2: {
                const std::string text = std::to_string(random());
                done = builder.add({.path = path, .size = text.size()});
                if (done) done = builder.append(bytes_of(text));
                break;
            }
            case 3:
                done = builder.add({.path = path, .kind = EntryKind::kSymlink, .target = "t"});
                break;
            default:
                done =
                    builder.add({.path = path,
                                 .kind = EntryKind::kDirectory,
                                 .attributes = {.mode = static_cast<uint32_t>(0700 + random() % 64),
                                                .uid = static_cast<uint32_t>(random() % 9)}});
        }
        (void)done;  // a file may be in the way
    }
    return {builder.finish().value(), data.bytes};
}

TEST_F(StackKernel, MergingChangesNothingThatOverlayfsShows) {
    std::mt19937 random(11);
    for (int round = 0; round < 40; ++round) {
        const auto store = open_store();
        std::vector<std::string> lowers;  // from the top
        std::vector<std::unique_ptr<LoadedLayer>> loaded;
        const std::string base = mounted(random_layer(random), fmt::format("base{}", round));
        for (int i = 0; i < 3; ++i) {
            const TestLayer layer = random_layer(random);
            lowers.insert(lowers.begin(), mounted(layer, fmt::format("layer{}-{}", round, i)));
            StoreWriter writer = store->writer().value();
            LayerDraft draft = writer.start_layer().value();
            ASSERT_TRUE(draft.data.write(layer.data));
            ASSERT_TRUE(writer.publish_layer(std::move(draft), layer.built));
            loaded.push_back(
                std::make_unique<LoadedLayer>(store->load_layer(layer.built.digest).value()));
        }
        MemorySink data;
        LayerBuilder builder(data);
        const auto merged_ok = merge_into({loaded[0].get(), loaded[1].get(), loaded[2].get()},
                                          builder, [](uint64_t) { return Result<void>(); });
        ASSERT_TRUE(merged_ok);
        const std::string merged =
            mounted({builder.finish().value(), data.bytes}, fmt::format("merged{}", round));
        lowers.push_back(base);
        const std::string wanted = listing(overlay(lowers, fmt::format("wanted{}", round)));
        const std::string found = listing(overlay({merged, base}, fmt::format("found{}", round)));
        ASSERT_EQ(found, wanted) << "round " << round;
    }
}

TEST_F(StackKernel, PackedUpperShowsWhatTheSandboxSaw) {
    const std::string base = mounted(build_layer({{{.path = "etc/a"}, "a"},
                                                  {{.path = "etc/b"}, "b"},
                                                  {{.path = "dir/x"}, "x"},
                                                  {{.path = "moved/y"}, "y"}}),
                                     "base");
    const std::string sandbox = overlay({base}, "sandbox");
    fs::remove(sandbox + "/etc/a");
    fs::remove(sandbox + "/etc/b");
    fs::remove_all(sandbox + "/dir");
    fs::create_directory(sandbox + "/dir");
    std::ofstream(sandbox + "/dir/new") << "new";
    std::ofstream(sandbox + "/etc/c") << "c";
    fs::create_hard_link(sandbox + "/etc/c", sandbox + "/d");
    const std::string wanted = listing(sandbox);
    unmount(sandbox);
    const auto store = open_store();
    const auto packed =
        pack_upper(*store, {.ref = ref("p:1")}, {.upper = path("sandbox.upper")}, {});
    ASSERT_TRUE(packed) << packed.error().message;
    EXPECT_TRUE(packed->notes.empty()) << packed->notes[0];
    const auto cache = LayerCache::open(path("cache"), LayerBackend::kErofs).value();
    const auto local = cache->prepare(*store, packed->manifest.layers[0].digest).value();
    const std::string again = overlay({attached(local, "packed"), base}, "again");
    EXPECT_EQ(listing(again), wanted);
}

TEST_F(StackKernel, PackRefusesAnUpperThatNeedsItsMount) {
    new_folder("upper/d");
    ASSERT_EQ(::setxattr(path("upper/d").c_str(), "trusted.overlay.redirect", "/x", 2, 0), 0);
    const auto store = open_store();
    const auto packed = pack_upper(*store, {.ref = ref("p:1")}, {.upper = path("upper")}, {});
    EXPECT_EQ(packed.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(packed.error().message.find("redirect_dir=off"), std::string::npos);
}

// A directory that no layer below has any more: its whiteouts must not be listed.
TEST_F(StackKernel, WhiteoutsOfAnUpgradedBaseAreNotListed) {
    MemorySink data;
    LayerBuilder builder(data);
    ASSERT_TRUE(builder.add({.path = "lib/kept"}));
    ASSERT_TRUE(builder.hide_lower("lib/gone"));
    const std::string work = mounted({builder.finish().value(), data.bytes}, "work");
    const std::string base = mounted(build_layer({{{.path = "other"}, "x"}}), "base");
    const std::string merged = overlay({work, base}, "merged");
    std::vector<std::string> names;
    for (const auto& at : fs::directory_iterator(merged + "/lib"))
        names.push_back(at.path().filename().string());
    EXPECT_EQ(names, std::vector<std::string>{"kept"});
}

class Backend : public StackKernel, public testing::WithParamInterface<LayerBackend> {};

void expect_xattrs(const std::string& path, const std::vector<Xattr>& wanted) {
    for (const Xattr& xattr : wanted) {
        std::string value(100, '\0');
        const ssize_t n = ::lgetxattr(path.c_str(), xattr.name.c_str(), value.data(), 100);
        ASSERT_GE(n, 0) << path << " " << xattr.name;
        EXPECT_EQ(value.substr(0, static_cast<size_t>(n)), xattr.value);
    }
}

// Each form of a layer shows the same, whiteouts in an overlay included.
TEST_P(Backend, ShowsTheSameLayer) {
    const LayerBackend backend = GetParam();
    ASSERT_EQ(detect_layer_support(new_folder("scratch"), {.best = backend}).value().backend,
              backend);
    const auto store = open_store();
    auto files = sample_entries();
    std::erase_if(files, [](const TestFile& f) { return f.entry.kind == EntryKind::kSocket; });
    for (TestFile& f : files) {  // what squashfs can hold
        f.entry.attributes.mtime_ns = 0;
        f.entry.attributes.mtime_s = std::max<int64_t>(f.entry.attributes.mtime_s, 0);
    }
    const auto made =
        import_tar(*store, {.ref = ref("a:1")}, write("a.tar", tar_of(files)), {}).value();
    const auto cache = LayerCache::open(path("cache"), backend).value();
    const std::string digest = made.manifest.layers[0].digest;
    const auto local = cache->prepare(*store, digest);
    ASSERT_TRUE(local) << local.error().message;
    EXPECT_EQ(cache->prepare(*store, digest).value().path, local->path);
    const std::string root = attached(*local, "layer");
    for (const FoundFile& wanted : expected_after_build(files)) {
        struct stat status {};
        const std::string at = root + "/" + wanted.entry.path;
        ASSERT_EQ(::lstat(at.c_str(), &status), 0) << at;
        if (wanted.entry.kind == EntryKind::kRegular) {
            EXPECT_TRUE(read_file(at, 1 << 28).value() == wanted.content) << at;
        }
        EXPECT_EQ(status.st_mode & 07777U, wanted.entry.attributes.mode) << at;
        EXPECT_EQ(status.st_uid, wanted.entry.attributes.uid) << at;
        EXPECT_EQ(status.st_gid, wanted.entry.attributes.gid) << at;
        if (!wanted.entry.path.empty()) {
            EXPECT_EQ(status.st_mtim.tv_sec, wanted.entry.attributes.mtime_s) << at;
        }
        // mksquashfs takes no attributes of the root from an archive; overlayfs needs none there.
        if (backend == LayerBackend::kSquashfs && wanted.entry.path.empty()) continue;
        expect_xattrs(at, wanted.entry.attributes.xattrs);
    }
    struct stat status {};
    ASSERT_EQ(::lstat((root + "/bin/ping").c_str(), &status), 0);
    EXPECT_EQ(status.st_nlink, 3U);
    EXPECT_NE(::open((root + "/new").c_str(), O_WRONLY | O_CREAT, 0600), 0);
    EXPECT_EQ(errno, EROFS);
    EXPECT_EQ(::open((root + "/dev/null").c_str(), O_RDONLY), -1) << "devices are off";
    const std::string base =
        mounted(build_layer({{{.path = "gone"}, "x"}, {{.path = "opaque/y"}, "y"}}), "base");
    const std::string merged = overlay({root, base}, "merged");
    EXPECT_FALSE(fs::exists(merged + "/gone"));
    EXPECT_FALSE(fs::exists(merged + "/opaque/y"));
    EXPECT_TRUE(fs::exists(merged + "/opaque"));
    EXPECT_GT(cache->bytes(), 4096U);
    unmount(merged);
    unmount(root);
    ASSERT_TRUE(cache->keep_only({}));
    EXPECT_FALSE(fs::exists(local->path));
}

TEST_P(Backend, DamageIsFoundBeforeTheMount) {
    const auto store = open_store();
    const auto made = import_tar(*store, {.ref = ref("a:1")},
                                 write("a.tar", tar_of({{{.path = "f"}, "content"}})), {})
                          .value();
    const std::string digest = made.manifest.layers[0].digest;
    const auto cache = LayerCache::open(path("cache"), GetParam()).value();
    // Conversions read the data; EROFS leaves that to verify.
    const bool reads_data = GetParam() != LayerBackend::kErofs;
    for (const std::string& damaged : {store->meta_path(digest), store->data_path(digest)}) {
        const std::string whole = read_file(damaged, 1 << 20).value();
        std::string flipped = whole;
        flipped[2] = static_cast<char>(flipped[2] ^ 1);
        std::ofstream(damaged, std::ios::binary) << flipped;
        const bool must_fail = reads_data || damaged == store->meta_path(digest);
        EXPECT_EQ(cache->prepare(*store, digest).has_value(), !must_fail) << damaged;
        std::ofstream(damaged, std::ios::binary) << whole;
        for (const auto& file : fs::directory_iterator(path("cache")))
            EXPECT_EQ(file.path().filename().string().find(".making-"), std::string::npos);
    }
    const auto local = cache->prepare(*store, digest);
    ASSERT_TRUE(local);
    if (GetParam() == LayerBackend::kErofs) {
        std::ofstream(local->path, std::ios::binary) << "damaged on the node";
        const auto next_process = LayerCache::open(path("cache"), GetParam()).value();
        ASSERT_TRUE(next_process->prepare(*store, digest));
        EXPECT_EQ(read_file(local->path, 1 << 20).value(),
                  read_file(store->meta_path(digest), 1 << 20).value());
    }
    EXPECT_FALSE(cache->prepare(*store, "../" + digest));
    EXPECT_FALSE(cache->prepare(*store, std::string(64, 'b')));
}

INSTANTIATE_TEST_SUITE_P(Each, Backend,
                         testing::Values(LayerBackend::kErofs, LayerBackend::kSquashfs,
                                         LayerBackend::kDirectory),
                         [](const auto& tested) {
                             return std::string(backend_name(tested.param));
                         });

TEST_F(StackKernel, SupportIsToldWithItsReason) {
    const std::string scratch = new_folder("scratch");
    const LayerSupport best = detect_layer_support(scratch).value();
    EXPECT_EQ(best.backend, LayerBackend::kErofs);
    EXPECT_FALSE(best.reason.empty());
    const LayerSupport none =
        detect_layer_support(scratch, {.best = LayerBackend::kSquashfs, .mksquashfs = "/none"})
            .value();
    EXPECT_EQ(none.backend, LayerBackend::kDirectory);
    EXPECT_NE(none.reason.find("squashfs-tools"), std::string::npos);
    EXPECT_TRUE(fs::is_empty(scratch));
}

TEST_F(StackKernel, AFailedMountTellsWhy) {
    const std::string file = write("no.meta", std::string(8192, 'x'));
    const auto done = mount_layer(file, file, new_folder("target"));
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().message.find("no.meta: cannot mount as erofs"), std::string::npos);
    EXPECT_FALSE(mount_layer(file, path("a,b"), path("target")));
    EXPECT_FALSE(mount_squashfs(file, path("target")));
    EXPECT_TRUE(unmount_layer(path("target"))) << "no mount is no error";
}

// A disk that is really full.
TEST_F(StackKernel, FullDiskWhileImporting) {
    const std::string disk = new_folder("store");
    ASSERT_EQ(::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m"), 0);
    const std::string tar = write("a.tar", tar_of({{{.path = "f"}, random_text(2'000'000, 1)}}));
    const auto store = open_store();
    const auto made = import_tar(*store, {.ref = ref("a:1")}, tar, {});
    EXPECT_EQ(made.error().code, ErrorCode::kExhausted);
    EXPECT_NE(made.error().message.find("No space left"), std::string::npos);
    EXPECT_TRUE(store_files().empty());
    ASSERT_TRUE(unmount_layer(disk));
}

}  // namespace
}  // namespace baleen::sandbox::image
