// baleen sandbox images: list, rm, gc, verify.
#include "cli/sandbox_images.h"

#include <unistd.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <set>
#include <vector>

#include "base/json.h"
#include "cli/progress.h"
#include "cli/stdio.h"

namespace baleen::cli {
namespace {

namespace image = sandbox::image;
using image::GcOptions;
using image::ImageManifest;
using image::ImageRef;
using image::ImageStore;
using image::ListedImage;

std::string day_of(int64_t created_ns) {
    const std::time_t seconds = created_ns / 1'000'000'000;
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

Json json_of(const ListedImage& listed) {
    Json json = {{"name", listed.ref.name}, {"version", listed.ref.version}};
    if (!listed.manifest) {
        json["problem"] = listed.problem;
        return json;
    }
    const ImageManifest& manifest = *listed.manifest;
    json["kind"] = image::kind_name(manifest.kind);
    json["source"] = manifest.source;
    json["platform"] = manifest.platform;
    json["bytes"] = manifest.bytes();
    json["created_ns"] = manifest.created_ns;
    json["layers"] = Json::array();
    for (const image::ManifestLayer& layer : manifest.layers)
        json["layers"].push_back(layer.digest);
    return json;
}

std::string list_text(const std::vector<ListedImage>& images) {
    std::string text = fmt::format("{:<40} {:<10} {:>6} {:>10}  {:<10} {}\n", "IMAGE", "KIND",
                                   "LAYERS", "BYTES", "CREATED", "SOURCE");
    for (const ListedImage& listed : images) {
        if (!listed.manifest) {
            text += fmt::format("{:<40} damaged: {}\n", listed.ref.text(), listed.problem);
            continue;
        }
        const ImageManifest& manifest = *listed.manifest;
        text +=
            fmt::format("{:<40} {:<10} {:>6} {:>10}  {:<10} {}\n", listed.ref.text(),
                        image::kind_name(manifest.kind), manifest.layers.size(),
                        bytes_text(manifest.bytes()), day_of(manifest.created_ns), manifest.source);
    }
    return text;
}

Result<int> run_list(const ImageStoreFlags& flags) {
    const auto store = TRY(flags.open());
    const std::vector<ListedImage> images = TRY(store->list());
    Json json = Json::array();
    for (const ListedImage& listed : images) json.push_back(json_of(listed));
    TRY(write_stdout(flags.json ? dump_json({{"images", std::move(json)}}) + "\n"
                                : list_text(images)));
    return kExitOk;
}

struct RemoveFlags {
    ImageStoreFlags store;
    std::vector<std::string> images;
};

Result<int> run_remove(const RemoveFlags& flags) {
    const auto store = TRY(flags.store.open());
    std::vector<ImageRef> refs;
    for (const std::string& text : flags.images) {
        refs.push_back(TRY(ImageRef::parse(text)));
        if (refs.back().version.empty())
            return make_error(ErrorCode::kInvalidArgument,
                              "{}: say which version (NAME:VERSION) to remove", text);
    }
    Json removed = Json::array();
    for (const ImageRef& ref : refs) {
        TRY(store->remove(ref));
        removed.push_back(ref.text());
    }
    const std::string text = fmt::format(
        "removed {} images; `baleen sandbox images gc` frees what only they needed\n", refs.size());
    TRY(write_stdout(flags.store.json ? dump_json({{"removed", std::move(removed)}}) + "\n"
                                      : text));
    return kExitOk;
}

struct GcFlags {
    ImageStoreFlags store;
    bool dry_run = false;
    int64_t min_age_s = GcOptions{}.min_age_s;
    std::vector<std::string> live;
    std::string run = "/run/baleen";
};

// Layers that are mounted on this node have a folder of their digest's name.
Result<std::set<std::string>> live_layers(const GcFlags& flags) {
    std::set<std::string> live;
    for (const std::string& digest : flags.live) {
        if (!image::is_digest(digest))
            return make_error(ErrorCode::kInvalidArgument, "--live {}: no layer digest", digest);
        live.insert(digest);
    }
    std::error_code error;
    for (auto at = std::filesystem::directory_iterator(flags.run + "/layers", error);
         !error && at != std::filesystem::directory_iterator(); at.increment(error))
        if (image::is_digest(at->path().filename().string()))
            live.insert(at->path().filename().string());
    if (error && error != std::errc::no_such_file_or_directory)
        return make_error(ErrorCode::kIo, "{}/layers: cannot list: {}", flags.run, error.message());
    return live;
}

Result<int> run_gc(const GcFlags& flags) {
    const auto store = TRY(flags.store.open());
    const GcOptions options{
        .mode = flags.dry_run ? GcOptions::Mode::kDryRun : GcOptions::Mode::kRemove,
        .live_layers = TRY(live_layers(flags)),
        .min_age_s = flags.min_age_s};
    uint64_t bytes = 0;
    std::string text;
    Json files = Json::array();
    for (const image::RemovedFile& file : TRY(store->collect_garbage(options))) {
        bytes += file.bytes;
        text += fmt::format("{:>10}  {}\n", bytes_text(file.bytes), file.path);
        files.push_back({{"path", file.path}, {"bytes", file.bytes}});
    }
    text += fmt::format("{} {} files, {}\n", flags.dry_run ? "would remove" : "removed",
                        files.size(), bytes_text(bytes));
    TRY(write_stdout(flags.store.json ? dump_json({{"dry_run", flags.dry_run},
                                                   {"files", std::move(files)},
                                                   {"bytes", bytes}}) +
                                            "\n"
                                      : text));
    return kExitOk;
}

struct VerifyFlags {
    ImageStoreFlags store;
    std::string image;
};

Result<int> run_verify(const VerifyFlags& flags) {
    const auto store = TRY(flags.store.open());
    const ImageRef ref = flags.image.empty() ? ImageRef{} : TRY(ImageRef::parse(flags.image));
    const InterruptStop stop;
    Progress progress("reading layers");
    const std::vector<image::VerifyProblem> problems = TRY(store->verify(
        ref,
        [&](uint64_t done, uint64_t total) {
            if (is_worth_a_bar(total)) progress.update(done, total);
        },
        stop.token()));
    Json list = Json::array();
    std::string text;
    for (const image::VerifyProblem& problem : problems) {
        list.push_back({{"what", problem.what}, {"problem", problem.problem}});
        text += fmt::format("{}: {}\n", problem.what, problem.problem);
    }
    if (problems.empty()) text = "all digests are right\n";
    TRY(write_stdout(flags.store.json ? dump_json({{"problems", std::move(list)}}) + "\n" : text));
    if (problems.empty()) return kExitOk;
    return make_error(ErrorCode::kCorrupt, "{}: {} problems, listed on stdout", flags.store.store,
                      problems.size());
}

void add_list(CLI::App& images, Chosen& chosen) {
    auto flags = std::make_shared<ImageStoreFlags>();
    CLI::App* command = images.add_subcommand("list", "What images there are.");
    flags->add_to(*command);
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_list(*flags); }; });
}

void add_remove(CLI::App& images, Chosen& chosen) {
    auto flags = std::make_shared<RemoveFlags>();
    CLI::App* command =
        images.add_subcommand("rm", "Take images out of the list; gc frees their layers.");
    flags->store.add_to(*command);
    command->add_option("IMAGE", flags->images, "NAME:VERSION")->required();
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_remove(*flags); }; });
}

void add_gc(CLI::App& images, Chosen& chosen) {
    auto flags = std::make_shared<GcFlags>();
    CLI::App* command = images.add_subcommand(
        "gc", "Remove layers that no image and no sandbox needs, and what died writers left.");
    flags->store.add_to(*command);
    command->add_flag("--dry-run", flags->dry_run, "only tell what would be removed");
    command->add_option("--min-age", flags->min_age_s, "seconds; younger files stay")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
        ->capture_default_str();
    command->add_option("--live", flags->live,
                        "digest of a layer that a sandbox elsewhere needs; may be repeated");
    command->add_option("--run", flags->run, "the daemon's --run folder: its mounted layers stay")
        ->capture_default_str();
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_gc(*flags); }; });
}

void add_verify(CLI::App& images, Chosen& chosen) {
    auto flags = std::make_shared<VerifyFlags>();
    CLI::App* command =
        images.add_subcommand("verify", "Read all files of images and compare their digests.");
    flags->store.add_to(*command);
    command->add_option("IMAGE", flags->image, "NAME or NAME:VERSION (default: all)");
    command->footer("Exit status 2 if there are problems.");
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_verify(*flags); }; });
}

}  // namespace

void ImageStoreFlags::add_to(CLI::App& command) {
    command.add_option("--store", store, "the store's folder")->capture_default_str();
    command.add_flag("--json", json, "the result as JSON on one line");
}

Result<std::unique_ptr<ImageStore>> ImageStoreFlags::open(ImageStore::Open how) const {
    ImageStore::Options options;
    options.open = how;
    return ImageStore::open(store, std::move(options));
}

bool is_worth_a_bar(uint64_t bytes) {
    constexpr uint64_t kQuickBytes = 64'000'000;
    return ::isatty(STDERR_FILENO) == 1 || bytes >= kQuickBytes;
}

InterruptStop::InterruptStop() {
    watch_interrupts();
    watcher_ = std::jthread([this](const std::stop_token& done) {
        while (!done.stop_requested() && !interrupted())
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        if (interrupted()) stop_.request_stop();
    });
}

void add_sandbox_images(CLI::App& sandbox, Chosen& chosen) {
    CLI::App* command =
        sandbox.add_subcommand("images", "The images that sandboxes start from: the image store.");
    command->require_subcommand(1);
    add_list(*command, chosen);
    add_images_import(*command, chosen);
    add_images_export(*command, chosen);
    add_images_pack(*command, chosen);
    add_remove(*command, chosen);
    add_gc(*command, chosen);
    add_verify(*command, chosen);
    command->footer(
        "Examples:\n"
        "  baleen sandbox images import python3:1 ./oci-layout\n"
        "  baleen sandbox images import debian:12 bookworm --from debootstrap\n"
        "  baleen sandbox images list --json\n"
        "  baleen sandbox images gc --dry-run");
}

}  // namespace baleen::cli
