// Any bytes as a tar archive, plain or compressed, into a layer: an error, or a layer that our
// reader takes and whose own archive gives the same layer again.
#include <cstdint>

#include "base/check.h"
#include "sandbox/image/decompress.h"
#include "sandbox/image/erofs_reader.h"
#include "sandbox/image/layer_builder.h"
#include "sandbox/image/tar_reader.h"

using namespace baleen::sandbox::image;

namespace {

baleen::Result<BuiltLayer> build(ByteSource& archive, ByteSink& data) {
    // Small limits: time is spent on forms, not on sizes.
    LayerBuilder builder(
        data, {.entries_max = 1000, .metadata_bytes_max = 1 << 20, .file_bytes_max = 1 << 24});
    const auto source = TRY(decompressed_by_magic(archive));
    TarReader reader(*source);
    while (const std::optional<Entry> entry = TRY(reader.next())) {
        TRY(builder.add(*entry));
        uint8_t buffer[4096];
        while (const size_t n = TRY(reader.read(buffer)))
            TRY(builder.append(std::span<const uint8_t>(buffer, n)));
    }
    return builder.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    MemorySource archive({bytes, size});
    MemorySink data;
    const auto layer = build(archive, data);
    if (!layer) {
        CHECK(!layer.error().message.empty());
        return 0;
    }
    const auto reader = ErofsReader::open(layer->meta);
    CHECK(reader.has_value());
    CHECK_EQ(reader->data_bytes(), data.bytes.size());
    const auto checked = check_layer(*reader);
    if (!checked) CHECK_EQ(checked.error().message, std::string());
    return 0;
}
