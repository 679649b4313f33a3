// Any text as an image manifest: an error, or one that is written and read back unchanged.
#include <cstdint>

#include "base/check.h"
#include "sandbox/image/manifest.h"

using namespace baleen::sandbox::image;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    const auto manifest = parse_manifest({reinterpret_cast<const char*>(bytes), size});
    if (!manifest) {
        CHECK(!manifest.error().message.empty());
        return 0;
    }
    const auto again = parse_manifest(manifest_text(*manifest));
    CHECK(again.has_value());
    CHECK(*again == *manifest);
    return 0;
}
