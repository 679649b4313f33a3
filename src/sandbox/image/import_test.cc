// Importers and pack. Archives of other programs are in tests/e2e/test_sandbox_images.py.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "base/sha256.h"
#include "sandbox/image/import_layer.h"
#include "sandbox/image/oci_layout.h"
#include "sandbox/image/store_fixture.h"

namespace baleen::sandbox::image {
namespace {

namespace fs = std::filesystem;

class Import : public TemporaryTest {
  protected:
    std::string shown_layer(const ImageStore& store, const ManifestLayer& layer) const {
        return shown(store.load_layer(layer.digest).value());
    }

    // Writes an OCI layout whose layers are these archives (plain); gives the manifest's
    // descriptor.
    std::string write_layout(
        const std::string& name, const std::vector<std::string>& archives,
        const std::string& platform = "\"os\":\"linux\",\"architecture\":\"amd64\"") {
        std::string layers;
        std::string diff_ids;
        for (const std::string& archive : archives) {
            const std::string digest = put_blob(name, archive);
            layers += fmt::format(
                R"({}{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{}","size":{}}})",
                layers.empty() ? "" : ",", digest, archive.size());
            diff_ids += fmt::format("{}\"sha256:{}\"", diff_ids.empty() ? "" : ",", digest);
        }
        const std::string config = fmt::format(
            R"({{{},"config":{{"Env":["PATH=/bin"],"User":"app","Entrypoint":["sh"],"Cmd":["-l"],"WorkingDir":"/srv"}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
            platform, diff_ids);
        const std::string manifest = fmt::format(
            R"({{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":{}}},"layers":[{}]}})",
            put_blob(name, config), config.size(), layers);
        write(name + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
        const std::string descriptor = fmt::format(
            R"({{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":{})",
            put_blob(name, manifest), manifest.size());
        write_index(name, {descriptor + "}"});
        return descriptor;
    }

    void write_index(const std::string& name, const std::vector<std::string>& descriptors) const {
        std::string list;
        for (const std::string& descriptor : descriptors)
            list += (list.empty() ? "" : ",") + descriptor;
        write(name + "/index.json", fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", list));
    }

    std::string put_blob(const std::string& name, const std::string& text) const {
        const std::string digest = hex(sha256(text));
        write(name + "/blobs/sha256/" + digest, text);
        return digest;
    }
};

constexpr const char* kPlatform = "linux/amd64";

TEST_F(Import, HostileArchivesLeaveNothing) {
    const auto store = open_store();
    const std::vector<std::vector<TestFile>> hostile = {
        {{{.path = "link", .kind = EntryKind::kSymlink, .target = "/etc"}, ""},
         {{.path = "link/passwd"}, "root::0:0::/:/bin/sh"}},
        {{{.path = "h", .kind = EntryKind::kHardLink, .target = "etc/shadow"}, ""}},
        {{{.path = "f"}, "x"}, {{.path = "f/g"}, "y"}},
    };
    for (const auto& files : hostile) {
        const auto made =
            import_tar(*store, {.ref = ref("a:1")}, write("a.tar", tar_of(files)), {});
        ASSERT_FALSE(made);
        EXPECT_NE(made.error().message.find("entry '"), std::string::npos) << made.error().message;
    }
    EXPECT_FALSE(import_tar(*store, {.ref = ref("a:1")}, write("a.tar", "no archive"), {}));
    EXPECT_FALSE(import_tar(*store, {.ref = ref("a:1")}, path(""), {}));
    EXPECT_FALSE(import_tar(*store, {.ref = ref("a:1")}, path("missing"), {}));
    EXPECT_TRUE(store_files().empty());
    // A link out of the tree is only text.
    const auto made = import_tar(
        *store, {.ref = ref("a:1")},
        write("a.tar",
              tar_of({{{.path = "l", .kind = EntryKind::kSymlink, .target = "../../.."}, ""}})),
        {});
    EXPECT_TRUE(made);
}

TEST_F(Import, EveryTruncatedArchiveLeavesNothing) {
    const auto store = open_store();
    const std::string archive = tar_of({{{.path = "a"}, "some content"}, {{.path = "b"}, "more"}});
    for (size_t size = 0; size + 1024 < archive.size(); size += 97) {
        write("a.tar", archive.substr(0, size));
        ASSERT_FALSE(import_tar(*store, {.ref = ref("a:1")}, path("a.tar"), {})) << size;
    }
    EXPECT_TRUE(store_files().empty());
}

TEST_F(Import, StopsAndTellsProgress) {
    const auto store = open_store();
    const std::string tar = write("a.tar", tar_of({{{.path = "a"}, random_text(5'000'000, 1)}}));
    ImportProgress last;
    ImportContext context{.progress = [&](const ImportProgress& progress) { last = progress; }};
    ASSERT_TRUE(import_tar(*store, {.ref = ref("a:1")}, tar, context));
    EXPECT_EQ(last.bytes_done, fs::file_size(tar));
    EXPECT_EQ(last.bytes_total, fs::file_size(tar));
    EXPECT_EQ(last.entries, 1U);
    std::stop_source stop;
    context.stop = stop.get_token();
    context.progress = [&](const ImportProgress&) { stop.request_stop(); };
    const auto stopped = import_tar(*store, {.ref = ref("b:1")}, tar, context);
    EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(store_files().size(), 3U);
}

TEST_F(Import, ADirectoryGivesTheSameLayerAsItsArchive) {
    const auto store = open_store();
    write("in/etc/hello", "hello");
    write("in/etc/zeros", std::string(2'000'000, '\0'));
    write("in/data", random_text(1'500'000, 2));
    fs::create_hard_link(path("in/data"), path("in/etc/link"));
    fs::create_symlink("../nowhere", path("in/sym"));
    ASSERT_EQ(::mkfifo(path("in/fifo").c_str(), 0600), 0);
    ASSERT_EQ(::chmod(path("in/etc").c_str(), 01750), 0);
    const bool has_xattrs =
        ::setxattr(path("in/data").c_str(), "user.note", "v", 1, 0) == 0 || errno == ENOTSUP;
    ASSERT_TRUE(has_xattrs);
    const auto made = import_directory(*store, {.ref = ref("d:1")}, path("in"), {}).value();
    const auto again = import_directory(*store, {.ref = ref("d:2")}, path("in"), {}).value();
    EXPECT_EQ(made.manifest.layers, again.manifest.layers);
    EXPECT_TRUE(made.notes.empty());
    const LoadedLayer layer = store->load_layer(made.manifest.layers[0].digest).value();
    EXPECT_EQ(layer.reader().data_bytes(), 4096U + 1'503'232U) << "zeros take no space";
    size_t num_checked = 0;
    ASSERT_TRUE(walk_layer(layer.reader(), [&](const Entry& entry, const ErofsInode& inode) {
        struct stat status {};
        EXPECT_EQ(::lstat(path("in/" + entry.path).c_str(), &status), 0) << entry.path;
        EXPECT_EQ(status.st_mode & 07777U, entry.attributes.mode) << entry.path;
        EXPECT_EQ(status.st_uid, entry.attributes.uid);
        EXPECT_EQ(status.st_mtim.tv_sec, entry.attributes.mtime_s);
        EXPECT_EQ(status.st_mtim.tv_nsec, entry.attributes.mtime_ns);
        EXPECT_EQ(status.st_nlink, inode.num_links) << entry.path;
        ++num_checked;
        return Result<void>();
    }));
    EXPECT_EQ(num_checked, 8U);  // the root, etc, 3 in it, data, fifo, sym
}

TEST_F(Import, AFolderDeeperThanOpenFilesAllow) {
    const auto store = open_store();
    std::string at = path("in");
    ASSERT_EQ(::mkdir(at.c_str(), 0755), 0);
    for (int i = 0; i < 1200; ++i) ASSERT_EQ(::mkdir((at += "/d").c_str(), 0755), 0);
    std::ofstream(at + "/f") << "low";
    const auto made = import_directory(*store, {.ref = ref("d:1")}, path("in"), {});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->manifest.layers[0].num_entries, 1202U);
}

TEST_F(Import, OciLayersBecomeAStackWithItsConfig) {
    const std::string base = tar_of(
        {{{.path = "tmp", .kind = EntryKind::kDirectory, .attributes = {.mode = 01777, .uid = 5}},
          ""},
         {{.path = "etc/a"}, "a"},
         {{.path = "etc/b"}, "b"}});
    const std::string top = tar_of({{{.path = "etc/.wh.a"}, ""},
                                    {{.path = "tmp/x"}, "x"},
                                    {{.path = "opt/.wh..wh..opq"}, ""},
                                    {{.path = ".wh..wh.aufs"}, "old bookkeeping"}});
    write_layout("oci", {base, top});
    const auto store = open_store();
    const auto made =
        import_oci(*store, {.ref = ref("o:1")}, path("oci"), {.platform = kPlatform}, {});
    ASSERT_TRUE(made) << made.error().message;
    const ImageManifest& manifest = made->manifest;
    EXPECT_EQ(manifest.platform, "linux/amd64");
    EXPECT_EQ(manifest.config.env, std::vector<std::string>{"PATH=/bin"});
    EXPECT_EQ(manifest.config.user, "app");
    EXPECT_EQ(manifest.config.working_dir, "/srv");
    EXPECT_EQ(manifest.config.entrypoint, std::vector<std::string>{"sh"});
    EXPECT_EQ(manifest.config.command, std::vector<std::string>{"-l"});
    ASSERT_EQ(manifest.layers.size(), 2U);
    EXPECT_EQ(shown_layer(*store, manifest.layers[0]), "/ /etc /etc/a=a /etc/b=b /tmp ");
    EXPECT_EQ(shown_layer(*store, manifest.layers[1]), "/ /etc /etc/a! /opt* /tmp /tmp/x=x ");
    // The archive has no entry for tmp: it must not turn into 0755 of root on the way.
    const LoadedLayer layer = store->load_layer(manifest.layers[1].digest).value();
    EXPECT_EQ(layer.reader().find("tmp").value()->attributes.mode, 01777U);
    EXPECT_EQ(layer.reader().find("tmp").value()->attributes.uid, 5U);
    EXPECT_EQ(manifest.blobs.size(), 1U);
    EXPECT_NE(store->read_blob(manifest.blobs[0]).value().find("diff_ids"), std::string::npos);
    EXPECT_TRUE(store->verify({}, {}, {}).value().empty());
}

TEST_F(Import, OciLayersAreConvertedOnce) {
    const std::string base = tar_of({{{.path = "etc", .kind = EntryKind::kDirectory}, ""}});
    const std::string top = tar_of({{{.path = "etc/x"}, random_text(2'000'000, 1)}});
    write_layout("oci", {base, top});
    const auto store = open_store();
    const auto first =
        import_oci(*store, {.ref = ref("o:1")}, path("oci"), {.platform = kPlatform}, {}).value();
    // Without the archives, only what the store knows can be used.
    for (const std::string& archive : {base, top})
        fs::remove(path("oci/blobs/sha256/" + hex(sha256(archive))));
    const auto second =
        import_oci(*store, {.ref = ref("o:2")}, path("oci"), {.platform = kPlatform}, {});
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ(second->manifest.layers, first.manifest.layers);
    // The upper layer took the attributes of "etc" from below: over another base it is made anew.
    const std::string other = tar_of(
        {{{.path = "etc", .kind = EntryKind::kDirectory, .attributes = {.mode = 0700}}, ""}});
    write_layout("oci2", {other, top});
    const auto third =
        import_oci(*store, {.ref = ref("o:3")}, path("oci2"), {.platform = kPlatform}, {}).value();
    EXPECT_NE(third.manifest.layers[1].digest, first.manifest.layers[1].digest);
}

TEST_F(Import, OciPlatformsAndNames) {
    const auto store = open_store();
    const auto import = [&](const OciOptions& options) {
        store->remove(ref("o:1")).has_value();
        const auto made = import_oci(*store, {.ref = ref("o:1")}, path("oci"), options, {});
        return made ? shown_layer(*store, made->manifest.layers[0]) : made.error().message;
    };
    const std::string amd = write_layout("oci", {tar_of({{{.path = "amd"}, ""}})});
    const std::string arm = write_layout("oci", {tar_of({{{.path = "arm"}, ""}})},
                                         R"("os":"linux","architecture":"arm64","variant":"v8")");
    const std::string other = write_layout("oci", {tar_of({{{.path = "other"}, ""}})});
    const auto named = [](const std::string& descriptor, const char* name) {
        return descriptor +
               fmt::format(R"(,"annotations":{{"org.opencontainers.image.ref.name":"{}"}}}})",
                           name);
    };
    write_index("oci", {amd + "}", arm + "}"});
    EXPECT_EQ(import({.platform = kPlatform}), "/ /amd= ");
    EXPECT_EQ(import({.platform = "linux/arm64"}), "/ /arm= ");
    EXPECT_EQ(import({.platform = "linux/arm64/v8"}), "/ /arm= ");
    EXPECT_NE(import({.platform = "linux/arm64/v7"}).find("there are: (no name) for linux/amd64"),
              std::string::npos);
    write_index("oci", {named(amd, "1.0"), named(other, "2.0"), named(arm, "1.0")});
    EXPECT_NE(import({.platform = kPlatform}).find("choose one by its name"), std::string::npos);
    EXPECT_EQ(import({.platform = kPlatform, .ref_name = "2.0"}), "/ /other= ");
    // An index inside the index, whose name is that of its images.
    const std::string nested =
        fmt::format(R"({{"schemaVersion":2,"manifests":[{}}},{}}}]}})", amd, arm);
    write_index(
        "oci",
        {fmt::format(
            R"({{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"n"}}}})",
            put_blob("oci", nested), nested.size())});
    EXPECT_EQ(import({.platform = kPlatform, .ref_name = "n"}), "/ /amd= ");
}

TEST_F(Import, DamagedOciLayoutsAreRefused) {
    const auto store = open_store();
    const auto error_of = [&](const std::string& file, const std::string& text) {
        write_layout("oci", {tar_of({{{.path = "f"}, random_text(100'000, 3)}})});
        const std::string name = file.empty() ? "oci/oci-layout" : file;
        if (!file.empty()) write(name, text);
        const auto made =
            import_oci(*store, {.ref = ref("o:1")}, path("oci"), {.platform = kPlatform}, {});
        EXPECT_FALSE(made) << file;
        return made ? std::string() : made.error().message;
    };
    const std::string archive = tar_of({{{.path = "f"}, random_text(100'000, 3)}});
    const std::string blob = "oci/blobs/sha256/" + hex(sha256(archive));
    std::string flipped = archive;
    flipped[600] = static_cast<char>(flipped[600] ^ 1);  // content: only the digest can tell
    EXPECT_NE(error_of(blob, flipped).find("damaged"), std::string::npos);
    EXPECT_NE(error_of(blob, archive.substr(0, 50'000)).find("damaged"), std::string::npos);
    EXPECT_NE(error_of(blob, ""), "");
    EXPECT_NE(error_of("oci/index.json", "{}"), "");
    EXPECT_NE(error_of("oci/index.json", "["), "");
    EXPECT_NE(error_of("oci/oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}"), "");
    EXPECT_NE(
        error_of(
            "oci/index.json",
            R"({"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../../../etc/passwd","size":1}]})")
            .find("no digest"),
        std::string::npos);
    EXPECT_TRUE(store->list().value().empty());
}

// What overlayfs leaves in an upper directory, as far as any user can make it.
TEST_F(Import, PackKeepsTheDifferenceAndScrubs) {
    const auto store = open_store();
    const std::string base = write("base.tar", tar_of({{{.path = "etc/keep"}, "base"}}));
    const ImageManifest below =
        import_tar(*store, {.ref = ref("base:1")}, base, {}).value().manifest;
    write("upper/srv/app.py", "print()");
    write("upper/srv/__pycache__/app.pyc", "x");
    write("upper/root/.bash_history", "secret");
    write("upper/var/log/a/b.log", "log");
    const PackOptions options{.upper = path("upper"),
                              .stack = below.layers,
                              .config = {.env = {"A=1"}},
                              .scrub = {"**/__pycache__", "/root/.bash_history", "var/log/**"},
                              .trajectory = "t-7"};
    const auto packed =
        pack_upper(*store, {.ref = ref("w:1"), .kind = ImageKind::kWorkspace}, options, {});
    ASSERT_TRUE(packed) << packed.error().message;
    const ImageManifest& manifest = packed->manifest;
    ASSERT_EQ(manifest.layers.size(), 2U);
    EXPECT_EQ(manifest.layers[0], below.layers[0]);
    EXPECT_EQ(shown_layer(*store, manifest.layers[1]),
              "/ /root /srv /srv/app.py=print() /var /var/log ");
    ASSERT_TRUE(manifest.pack);
    EXPECT_EQ(manifest.pack->removed,
              (std::vector<std::string>{"root/.bash_history", "srv/__pycache__", "var/log/a"}));
    EXPECT_EQ(manifest.pack->num_removed, 3U);
    EXPECT_EQ(manifest.pack->trajectory, "t-7");
    EXPECT_EQ(manifest.pack->stack, std::vector<std::string>{below.layers[0].digest});
    EXPECT_EQ(store->manifest(ref("w:1")).value().pack, manifest.pack);
    // The base may go: the packed image needs its layer.
    ASSERT_TRUE(store->remove(ref("base:1")));
    ASSERT_TRUE(store->collect_garbage({.mode = GcOptions::Mode::kRemove, .min_age_s = 0}));
    EXPECT_TRUE(store->verify({}, {}, {}).value().empty());
    EXPECT_TRUE(store->has_layer(below.layers[0]));
}

TEST_F(Import, PackRefusesWhatItCannotRepresent) {
    const auto store = open_store();
    fs::create_directories(path("upper"));
    PackOptions options{.upper = path("upper"), .scrub = {"/"}};
    EXPECT_FALSE(pack_upper(*store, {.ref = ref("w:1")}, options, {}));
    options.scrub.clear();
    options.stack = {{.digest = std::string(64, 'a')}};
    EXPECT_EQ(pack_upper(*store, {.ref = ref("w:1")}, options, {}).error().code,
              ErrorCode::kNotFound);
}

// A program in debootstrap's place: how it is called, its messages, its failure, its absence.
class Debootstrap : public Import {
  protected:
    DebootstrapOptions with_program(const std::string& script) const {
        write("fake", "#!/bin/sh\n" + script);
        fs::permissions(path("fake"), fs::perms::owner_all);
        return {.suite = "stable", .temporary_folder = path(""), .program = path("fake")};
    }
};

TEST_F(Debootstrap, ImportsWhatItMade) {
    if (::geteuid() != 0) GTEST_SKIP() << "debootstrap needs root, and so does this test";
    const auto store = open_store();
    DebootstrapOptions options =
        with_program("echo \"$@\" > " + path("arguments") +
                     "\nmkdir -p $4/etc $4/bin\necho host > $4/etc/hostname\necho sh > $4/bin/sh\n"
                     "mount -t tmpfs none $4/etc\necho 'I: Configuring things'\n");
    options.include = {"python3-minimal", "git"};
    options.mirror = "file:/mirror";
    std::set<std::string> stages;
    const auto made = import_debootstrap(
        *store, {.ref = ref("deb:1")}, options,
        {.progress = [&](const ImportProgress& progress) { stages.insert(progress.stage); }});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(shown_layer(*store, made->manifest.layers[0]), "/ /bin /bin/sh=sh\n /etc ");
    EXPECT_TRUE(stages.contains("debootstrap: Configuring things"));
    std::ifstream in(path("arguments"));
    std::string arguments;
    std::getline(in, arguments);
    EXPECT_TRUE(arguments.starts_with("--variant=minbase --include=python3-minimal,git stable /"));
    EXPECT_TRUE(arguments.ends_with("/root file:/mirror"));
    for (const auto& file : fs::directory_iterator(path("")))
        EXPECT_EQ(file.path().filename().string().find("baleen-debootstrap"), std::string::npos);
}

TEST_F(Debootstrap, TellsWhyItFailed) {
    const auto store = open_store();
    DebootstrapOptions options = with_program("echo 'E: no such mirror' >&2; exit 7");
    options.suite = "-x";
    EXPECT_FALSE(import_debootstrap(*store, {.ref = ref("deb:1")}, options, {}));
    options.suite = "stable";
    const auto failed = import_debootstrap(*store, {.ref = ref("deb:1")}, options, {});
    ASSERT_FALSE(failed);
    if (::geteuid() == 0) {
        EXPECT_NE(failed.error().message.find("no such mirror"), std::string::npos);
        EXPECT_NE(failed.error().message.find("7"), std::string::npos);
    } else {
        EXPECT_EQ(failed.error().code, ErrorCode::kUnsupported);
    }
    EXPECT_TRUE(store_files().empty());
}

TEST_F(Debootstrap, IsStoppedWithItsChildren) {
    if (::geteuid() != 0) GTEST_SKIP() << "debootstrap needs root, and so does this test";
    const auto store = open_store();
    const DebootstrapOptions options =
        with_program("sleep 1000 & echo $! > " + path("pid") + "\necho 'I: sleeping'\nwait\n");
    std::stop_source stop;
    const auto stopped =
        import_debootstrap(*store, {.ref = ref("deb:1")}, options,
                           {.progress = [&](const ImportProgress&) { stop.request_stop(); },
                            .stop = stop.get_token()});
    EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
    std::ifstream in(path("pid"));
    pid_t pid = 0;
    in >> pid;
    ASSERT_GT(pid, 0);
    // Killed; what is left is a zombie at most, until init takes it.
    while (::kill(pid, 0) == 0) {
        std::ifstream status(fmt::format("/proc/{}/stat", pid));
        std::string text((std::istreambuf_iterator<char>(status)), {});
        if (text.find(") Z") != std::string::npos) break;
    }
}

TEST(Glob, Patterns) {
    const auto matches = [](const char* pattern, const char* path) {
        return Glob::parse(pattern).value().matches(path);
    };
    EXPECT_TRUE(matches("/root/.bash_history", "root/.bash_history"));
    EXPECT_TRUE(matches("*.o", "a.o"));
    EXPECT_FALSE(matches("*.o", "src/a.o"));
    EXPECT_TRUE(matches("**/*.o", "a.o"));
    EXPECT_TRUE(matches("**/*.o", "x/y/a.o"));
    EXPECT_TRUE(matches("a/**/b", "a/b"));
    EXPECT_TRUE(matches("a/**/b", "a/x/y/b"));
    EXPECT_FALSE(matches("a/**/b", "a/x/c"));
    EXPECT_TRUE(matches("var/log/**", "var/log/a/b"));
    EXPECT_TRUE(matches("f?o[a-cx][!0-9]", "fooxz"));
    EXPECT_FALSE(matches("f?o[a-cx][!0-9]", "foox1"));
    EXPECT_FALSE(matches("f?o[a-cx]", "food"));
    EXPECT_TRUE(matches("[", "["));
    EXPECT_TRUE(matches("[]]", "]"));
    EXPECT_TRUE(matches("a*b*c", "a-b-b-c"));
    EXPECT_FALSE(matches("a*b*c", "a-c-b"));
    EXPECT_FALSE(matches("a", "a/b"));
    EXPECT_FALSE(matches("var/log/**", "var/log"));
    for (const char* bad : {"", "/", "//"}) EXPECT_FALSE(Glob::parse(bad)) << bad;
    // No pattern takes more than the product of both lengths.
    std::string stars;
    for (int i = 0; i < 2000; ++i) stars += "*a";
    EXPECT_FALSE(matches((stars + "b").c_str(), std::string(4000, 'a').c_str()));
    std::string doubles;
    for (int i = 0; i < 500; ++i) doubles += "**/a/";
    EXPECT_FALSE(matches((doubles + "b").c_str(), doubles.c_str()));
}

TEST(Printable, EscapesWhatIsNoUtf8) {
    EXPECT_EQ(printable("é a"), "é a");
    EXPECT_EQ(printable("\xff\n\\"), "\\xff\\x0a\\x5c");
    EXPECT_EQ(printable("\xc3"), "\\xc3");
    EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");
}

}  // namespace
}  // namespace baleen::sandbox::image
