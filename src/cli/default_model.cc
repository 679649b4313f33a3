#include "cli/default_model.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace baleen::cli {
namespace {

constexpr const char* kPocket = "models/pocket";

// A config.json alone is no model: a clone may have that much without the weights.
bool is_checkpoint(const std::filesystem::path& folder) {
    std::error_code ignored;
    return std::filesystem::exists(folder / "config.json", ignored) &&
           (std::filesystem::exists(folder / "model.safetensors.index.json", ignored) ||
            std::filesystem::exists(folder / "model.safetensors", ignored));
}

}  // namespace

Result<DefaultModel> find_default_model() {
    const char* const chosen = std::getenv("BALEEN_MODEL");
    if (chosen != nullptr && *chosen != '\0')
        return DefaultModel{.directory = chosen, .origin = "BALEEN_MODEL"};
    std::error_code ignored;
    const std::filesystem::path program =
        std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
    const std::filesystem::path installed =
        (program / "../share/baleen" / kPocket).lexically_normal();
    const std::filesystem::path built = std::filesystem::path(BALEEN_SOURCE_DIR) / kPocket;
    for (const std::filesystem::path& folder : {installed, built})
        if (is_checkpoint(folder))
            return DefaultModel{.directory = folder.string(), .origin = "the pocket model"};
    return make_error(ErrorCode::kNotFound,
                      "no --model given, and the pocket model is neither in {} nor in {}: give "
                      "--model DIR or set BALEEN_MODEL",
                      installed.string(), built.string());
}

}  // namespace baleen::cli
