#include "sandbox/image/stack.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "base/check.h"
#include "sandbox/image/import_layer.h"
#include "sandbox/image/layer_merge.h"

namespace baleen::sandbox::image {
namespace {

std::string_view name_of(std::string_view variable) {
    return variable.substr(0, std::min(variable.find('='), variable.size()));
}

// What a later image sets replaces what the earlier ones did.
void overrule(ImageConfig& config, const ImageConfig& later) {
    for (const std::string& variable : later.env) {
        const auto same =
            std::find_if(config.env.begin(), config.env.end(),
                         [&](const std::string& old) { return name_of(old) == name_of(variable); });
        if (same != config.env.end())
            *same = variable;
        else
            config.env.push_back(variable);
    }
    if (!later.user.empty()) config.user = later.user;
    if (!later.working_dir.empty()) config.working_dir = later.working_dir;
    if (!later.entrypoint.empty()) {
        config.entrypoint = later.entrypoint;
        config.command.clear();  // it was the arguments of the other entry point
    }
    if (!later.command.empty()) config.command = later.command;
}

Result<void> add_image(const ImageStore& store, const ImageRef& ref, ImageKind kind,
                       ImageStack& stack) {
    const ImageManifest manifest = TRY(store.manifest(ref));
    if (manifest.kind != kind)
        return make_error(ErrorCode::kInvalidArgument, "{} is a {}, expected a {}",
                          manifest.ref.text(), kind_name(manifest.kind), kind_name(kind));
    for (const ManifestLayer& layer : manifest.layers) {
        if (!store.has_layer(layer))
            return make_error(ErrorCode::kCorrupt, "{}: layer {} is missing or of a wrong size",
                              manifest.ref.text(), layer.digest);
        if (layer.is_root_opaque) stack.layers.clear();
        // overlayfs refuses a lower twice; the upper place decides what shows.
        std::erase_if(stack.layers,
                      [&](const ManifestLayer& old) { return old.digest == layer.digest; });
        stack.layers.push_back(layer);
    }
    overrule(stack.config, manifest.config);
    stack.images.push_back(manifest.ref);
    return {};
}

Result<void> compact(ImageStore& store, ImageStack& stack, const ImportContext& context) {
    std::vector<uint64_t> bytes;
    for (const ManifestLayer& layer : stack.layers) bytes.push_back(layer.data_bytes);
    std::vector<ManifestLayer> compacted;
    size_t next = 0;
    for (const MergeRange& range : plan_merges(bytes, kLowersMax)) {
        const auto begin = stack.layers.begin();
        const auto at = [&](size_t i) { return begin + static_cast<std::ptrdiff_t>(i); };
        compacted.insert(compacted.end(), at(next), at(range.begin));
        compacted.push_back(TRY(merge_layers(
            store, std::vector<ManifestLayer>(at(range.begin), at(range.end)), context)));
        next = range.end;
    }
    compacted.insert(compacted.end(), stack.layers.begin() + static_cast<std::ptrdiff_t>(next),
                     stack.layers.end());
    stack.layers = std::move(compacted);
    return {};
}

}  // namespace

Result<ImageStack> resolve_stack(ImageStore& store, const ImageSpec& spec,
                                 const ImportContext& context) {
    ImageStack stack;
    TRY(add_image(store, spec.base, ImageKind::kBase, stack));
    if (spec.workspace) TRY(add_image(store, *spec.workspace, ImageKind::kWorkspace, stack));
    for (const ImageRef& toolkit : spec.toolkits)
        TRY(add_image(store, toolkit, ImageKind::kToolkit, stack));
    if (stack.layers.empty())
        return make_error(ErrorCode::kInvalidArgument, "{} has no layers", spec.base.text());
    if (stack.layers.size() > kLowersMax) TRY(compact(store, stack, context));
    return stack;
}

std::vector<MergeRange> plan_merges(const std::vector<uint64_t>& layer_bytes, size_t num_max) {
    CHECK_GT(num_max, size_t{0});
    if (layer_bytes.size() <= num_max) return {};
    // best[k][n]: the fewest bytes copied when the first n layers have become k.
    const size_t num_layers = layer_bytes.size();
    constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
    std::vector<uint64_t> sums(num_layers + 1);
    for (size_t n = 0; n < num_layers; ++n) sums[n + 1] = sums[n] + layer_bytes[n];
    std::vector<std::vector<uint64_t>> best(num_max + 1,
                                            std::vector<uint64_t>(num_layers + 1, kNever));
    std::vector<std::vector<size_t>> begin_of(num_max + 1, std::vector<size_t>(num_layers + 1));
    best[0][0] = 0;
    for (size_t k = 1; k <= num_max; ++k)
        for (size_t n = k; n <= num_layers; ++n)
            for (size_t begin = k - 1; begin < n; ++begin) {
                if (best[k - 1][begin] == kNever) continue;
                const uint64_t copied = begin + 1 == n ? 0 : sums[n] - sums[begin];
                if (best[k - 1][begin] + copied >= best[k][n]) continue;
                best[k][n] = best[k - 1][begin] + copied;
                begin_of[k][n] = begin;
            }
    std::vector<MergeRange> ranges;
    size_t n = num_layers;
    for (size_t k = num_max; k > 0; --k) {
        const size_t begin = begin_of[k][n];
        if (begin + 1 < n) ranges.push_back({begin, n});
        n = begin;
    }
    std::reverse(ranges.begin(), ranges.end());
    return ranges;
}

Result<ManifestLayer> merge_layers(ImageStore& store, const std::vector<ManifestLayer>& layers,
                                   const ImportContext& context) {
    CHECK_GE(layers.size(), size_t{2});
    ImageManifest manifest{.ref = {"compacted", "1"}, .source = "compact", .pack = PackRecord{}};
    std::string names;
    ImportProgress progress{.stage = fmt::format("merging {} layers", layers.size())};
    for (const ManifestLayer& layer : layers) {
        names += layer.digest + " ";
        manifest.pack->stack.push_back(layer.digest);
        progress.bytes_total += layer.data_bytes;
    }
    const std::string key = hex(sha256(names));
    if (const std::optional<ManifestLayer> found = TRY(store.find_compacted(key))) return *found;

    StoreWriter writer = TRY(store.writer());
    std::vector<std::unique_ptr<LoadedLayer>> loaded;
    std::vector<const LoadedLayer*> inputs;
    for (const ManifestLayer& layer : layers) {
        loaded.push_back(std::make_unique<LoadedLayer>(TRY(store.load_layer(layer.digest))));
        inputs.push_back(loaded.back().get());
    }
    LayerDraft draft = TRY(writer.start_layer());
    LayerBuilder builder(draft.data, context.limits);
    TRY(merge_into(inputs, builder, [&](uint64_t bytes) -> Result<void> {
        progress.bytes_done += bytes;
        report(context, progress);
        return stop_if_asked(context);
    }));
    ManifestLayer merged = TRY(writer.publish_layer(std::move(draft), TRY(builder.finish())));
    manifest.layers.push_back(merged);
    TRY(writer.put_compacted(key, manifest));
    return merged;
}

}  // namespace baleen::sandbox::image
