// baleen sandbox images: import, pack, export.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>

#include "base/json.h"
#include "cli/progress.h"
#include "cli/sandbox_images.h"
#include "cli/stdio.h"
#include "sandbox/image/importer.h"
#include "sandbox/image/layer_export.h"
#include "sandbox/image/stack.h"

namespace baleen::cli {
namespace {

namespace image = sandbox::image;
using image::ImageRef;
using image::ImageStore;
using image::ImportProgress;
using image::ImportResult;
using Clock = std::chrono::steady_clock;

// A bar where the size is known; else, on a terminal, what happens and how much of it.
class ImportScreen {
  public:
    void show(const ImportProgress& progress) {
        if (progress.bytes_total > 0) {
            if (!is_worth_a_bar(progress.bytes_total)) return;
            if (!bar_ || stage_ != progress.stage) bar_.emplace(progress.stage);
            stage_ = progress.stage;
            return bar_->update(progress.bytes_done, progress.bytes_total);
        }
        const auto now = Clock::now();
        if (!is_terminal_ || now - last_drawn_ < std::chrono::milliseconds(100)) return;
        last_drawn_ = now;
        line_open_ = true;
        fmt::print(stderr, "\r{}: {} files, {}\033[K", progress.stage, progress.entries,
                   bytes_text(progress.bytes_done));
        std::fflush(stderr);
    }
    ~ImportScreen() {
        if (line_open_) fmt::print(stderr, "\n");
    }

  private:
    std::optional<Progress> bar_;
    std::string stage_;
    bool is_terminal_ = ::isatty(STDERR_FILENO) == 1;
    bool line_open_ = false;
    Clock::time_point last_drawn_ = Clock::now();
};

struct TargetFlags {
    ImageStoreFlags store;
    std::string name;
    std::string kind = "base";

    void add_to(CLI::App& command) {
        store.add_to(command);
        command.add_option("NAME", name, "NAME or NAME:VERSION (default version: latest)")
            ->required();
        command.add_option("--kind", kind, "base, workspace or toolkit")
            ->check(CLI::IsMember({"base", "workspace", "toolkit"}))
            ->capture_default_str();
    }
    Result<image::ImportTarget> target() const {
        image::ImportTarget target{TRY(ImageRef::parse(name)), TRY(image::parse_image_kind(kind))};
        if (target.ref.version.empty()) target.ref.version = "latest";
        return target;
    }
};

Result<void> print_result(const ImportResult& result, bool as_json, Clock::time_point begun) {
    const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    const image::ImageManifest& manifest = result.manifest;
    if (!as_json) {
        for (const std::string& note : result.notes) fmt::print(stderr, "note: {}\n", note);
        return write_stdout(fmt::format("{}: {} layers, {}, {:.1f} s\n", manifest.ref.text(),
                                        manifest.layers.size(), bytes_text(manifest.bytes()),
                                        seconds));
    }
    Json layers = Json::array();
    for (const image::ManifestLayer& layer : manifest.layers)
        layers.push_back({{"digest", layer.digest},
                          {"meta_bytes", layer.meta_bytes},
                          {"data_bytes", layer.data_bytes},
                          {"entries", layer.num_entries}});
    Json json = {{"name", manifest.ref.name}, {"version", manifest.ref.version},
                 {"bytes", manifest.bytes()}, {"layers", std::move(layers)},
                 {"seconds", seconds},        {"notes", result.notes}};
    if (manifest.pack) json["removed"] = manifest.pack->removed;
    return write_stdout(dump_json(json) + "\n");
}

struct ImportFlags {
    TargetFlags target;
    std::string source;
    std::string from = "auto";
    image::OciOptions oci;
    image::DebootstrapOptions debootstrap;
};

// Which importer a source is for.
std::string form_of(const ImportFlags& flags) {
    if (flags.from != "auto") return flags.from;
    std::error_code ignored;
    if (!std::filesystem::is_directory(flags.source, ignored)) return "tar";
    return std::filesystem::exists(flags.source + "/oci-layout", ignored) ? "oci" : "directory";
}

Result<ImportResult> import_image(const ImportFlags& flags, ImageStore& store,
                                  const image::ImportContext& context) {
    const image::ImportTarget target = TRY(flags.target.target());
    const std::string form = form_of(flags);
    if (form == "oci") return import_oci(store, target, flags.source, flags.oci, context);
    if (form == "directory") return import_directory(store, target, flags.source, context);
    if (form == "tar") return import_tar(store, target, flags.source, context);
    image::DebootstrapOptions options = flags.debootstrap;
    options.suite = flags.source;
    return import_debootstrap(store, target, options, context);
}

Result<int> run_import(const ImportFlags& flags) {
    const auto begun = Clock::now();
    TRY(flags.target.target());  // before a store is created for nothing
    const auto store = TRY(flags.target.store.open(ImageStore::Open::kCreate));
    const InterruptStop stop;
    ImportScreen screen;
    const ImportResult result = TRY(stop.unless_interrupted(
        import_image(flags, *store,
                     {.progress = [&](const ImportProgress& progress) { screen.show(progress); },
                      .stop = stop.token()})));
    TRY(print_result(result, flags.target.store.json, begun));
    return kExitOk;
}

struct PackFlags {
    TargetFlags target;
    std::string on;
    image::PackOptions options;
};

Result<int> run_pack(const PackFlags& flags) {
    const auto begun = Clock::now();
    const image::ImportTarget target = TRY(flags.target.target());
    const auto store = TRY(flags.target.store.open(ImageStore::Open::kCreate));
    image::PackOptions options = flags.options;
    if (!flags.on.empty()) {
        image::ImageManifest below = TRY(store->manifest(TRY(ImageRef::parse(flags.on))));
        options.stack = std::move(below.layers);
        options.config = std::move(below.config);
    }
    const InterruptStop stop;
    ImportScreen screen;
    const ImportResult result = TRY(stop.unless_interrupted(
        pack_upper(*store, target, options,
                   {.progress = [&](const ImportProgress& progress) { screen.show(progress); },
                    .stop = stop.token()})));
    TRY(print_result(result, flags.target.store.json, begun));
    return kExitOk;
}

struct ExportFlags {
    ImageStoreFlags store;
    std::string name;
    std::string output = "-";
};

// One layer as it is, several as what they show together. A base is complete: it hides nothing.
Result<void> export_image(ImageStore& store, const image::ImageManifest& manifest,
                          image::ByteSink& sink) {
    if (manifest.layers.empty())
        return make_error(ErrorCode::kUnsupported, "{} has no layers", manifest.ref.text());
    const InterruptStop stop;
    const image::ManifestLayer layer =
        manifest.layers.size() == 1
            ? manifest.layers[0]
            : TRY(merge_layers(store, manifest.layers, {.stop = stop.token()}));
    const image::LoadedLayer loaded = TRY(store.load_layer(layer.digest));
    const auto marks = manifest.kind == image::ImageKind::kBase ? image::OverlayMarks::kDrop
                                                                : image::OverlayMarks::kKeep;
    return image::write_layer_tar(loaded.reader(), loaded.data(), marks, sink);
}

Result<int> run_export(const ExportFlags& flags) {
    const auto store = TRY(flags.store.open());
    const image::ImageManifest manifest = TRY(store->manifest(TRY(ImageRef::parse(flags.name))));
    const bool is_stdout = flags.output == "-";
    const image::Descriptor file(
        is_stdout ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                  : ::open(flags.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file.is_open()) return image::io_error(flags.output, "create");
    image::FileSink sink(file.get(), is_stdout ? "stdout" : flags.output);
    TRY(export_image(*store, manifest, sink));
    return kExitOk;
}

}  // namespace

void add_images_import(CLI::App& images, Chosen& chosen) {
    auto flags = std::make_shared<ImportFlags>();
    CLI::App* command = images.add_subcommand(
        "import", "Make an image of an OCI layout, a tar archive, a folder or debootstrap.");
    flags->target.add_to(*command);
    command
        ->add_option("SOURCE", flags->source,
                     "a folder, an archive (- for stdin), or debootstrap's suite")
        ->required();
    command->add_option("--from", flags->from, "what SOURCE is; auto looks")
        ->check(CLI::IsMember({"auto", "oci", "tar", "directory", "debootstrap"}))
        ->capture_default_str();
    command->add_option("--platform", flags->oci.platform,
                        "OCI: os/architecture[/variant] (default: this machine's)");
    command->add_option("--ref", flags->oci.ref_name, "OCI: which of several images");
    command->add_option("--mirror", flags->debootstrap.mirror, "debootstrap: where packages are");
    command
        ->add_option("--include", flags->debootstrap.include,
                     "debootstrap: packages beside the minimal system, separated by commas")
        ->delimiter(',');
    command
        ->add_option("--tmp", flags->debootstrap.temporary_folder,
                     "debootstrap: where the system is made first")
        ->capture_default_str();
    command->footer(
        "Nothing of an archive is unpacked. Published images do not change: another content needs "
        "another version.\n"
        "Examples:\n"
        "  baleen sandbox images import python3:1 ./oci-layout\n"
        "  zstd -dc repo.tar.zst | baleen sandbox images import repo:7 - --kind workspace\n"
        "  baleen sandbox images import debian:12 bookworm --from debootstrap --include python3");
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_import(*flags); }; });
}

void add_images_pack(CLI::App& images, Chosen& chosen) {
    auto flags = std::make_shared<PackFlags>();
    flags->target.kind = "workspace";
    CLI::App* command = images.add_subcommand(
        "pack", "Make an image of the upper folder of an overlay that nobody writes to now.");
    flags->target.add_to(*command);
    command->add_option("UPPER", flags->options.upper, "the folder")->required();
    command->add_option("--on", flags->on, "the image below, whose layers become part of this one");
    command->add_option("--scrub", flags->options.scrub,
                        "leave out paths of this pattern (*, ?, [a-z], ** for any folders); may be "
                        "repeated");
    command->add_option("--trajectory", flags->options.trajectory, "what made it, for the record");
    command->footer(
        "Needs root: the marks of deleted files are for root only.\n"
        "Example:\n"
        "  baleen sandbox images pack built:1 ./upper --on debian:12 --scrub '**/__pycache__'");
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_pack(*flags); }; });
}

void add_images_export(CLI::App& images, Chosen& chosen) {
    auto flags = std::make_shared<ExportFlags>();
    CLI::App* command = images.add_subcommand("export", "An image as a tar archive.");
    flags->store.add_to(*command);
    command->add_option("IMAGE", flags->name, "NAME or NAME:VERSION")->required();
    command->add_option("-o,--output", flags->output, "FILE (default: stdout)");
    command->footer(
        "Several layers are merged first. Workspaces and toolkits keep their whiteouts, as devices "
        "0/0.");
    command->callback([flags, &chosen] { chosen.run = [flags] { return run_export(*flags); }; });
}

}  // namespace baleen::cli
