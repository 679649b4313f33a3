// Any bytes as a layer's .meta: an error, or a tree that can be walked, read and merged with
// itself. The checksum, which would keep a fuzzer out, is set right first.
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/crc32c.h"
#include "sandbox/image/erofs_reader.h"
#include "sandbox/image/layer_export.h"
#include "sandbox/image/little_endian.h"

using namespace baleen::sandbox::image;

namespace {

class CountingSink : public ByteSink {
  public:
    baleen::Result<void> write(std::span<const uint8_t> bytes) override {
        // A small file may describe large ones; that is not what is looked for here.
        num_bytes_ += bytes.size();
        if (num_bytes_ > 1 << 22)
            return baleen::make_error(baleen::ErrorCode::kExhausted, "enough");
        return {};
    }

  private:
    uint64_t num_bytes_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    std::vector<uint8_t> meta(bytes, bytes + size);
    if (size >= erofs::kBlockBytes) {
        const auto super = std::span(meta).subspan(erofs::kSuperOffset);
        store_le(super, erofs::kSuperChecksum, uint32_t{0});
        store_le(super, erofs::kSuperChecksum,
                 static_cast<uint32_t>(
                     ~baleen::crc32c(super.first(erofs::kBlockBytes - erofs::kSuperOffset))));
    }
    const auto reader = ErofsReader::open(meta);
    if (!reader) return 0;
    const auto checked = check_layer(*reader);
    CountingSink sink;
    const DataAccess zeros = [](uint64_t, std::span<uint8_t> out) -> baleen::Result<void> {
        std::memset(out.data(), 0, out.size());
        return {};
    };
    const auto written = write_layer_tar(*reader, zeros, OverlayMarks::kKeep, sink);
    if (written) CHECK(checked.has_value());
    return 0;
}
