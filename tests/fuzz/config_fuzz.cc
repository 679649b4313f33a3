// Any bytes as config.json: an error, or a Config whose inventory adds up and which writes itself
// back as the same Config.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/config.h"
#include "model/inventory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace baleen;
    const auto json = parse_json({reinterpret_cast<const char*>(data), size});
    if (!json) return 0;
    const auto config = Config::from_json(*json);
    if (!config) {
        CHECK(!config.error().message.empty());
        return 0;
    }
    const Json written = config->to_json();
    const auto again = Config::from_json(written);
    CHECK(again.has_value());
    CHECK(again->to_json() == written);
    // A valid config may ask for a thousand layers of thousands of experts: listing them all is
    // right, but slow here.
    const int64_t num_experts =
        config->n_routed_experts * static_cast<int64_t>(config->compress_ratios.size());
    if (num_experts > 10'000) return 0;
    const InventoryTotal total = inventory_total(*config);
    CHECK_GT(total.num_tensors, 0u);
    CHECK_LT(total.bytes, uint64_t{1} << 63);
    return 0;
}
