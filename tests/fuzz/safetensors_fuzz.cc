// Any bytes as a safetensors shard: an error, or tensors that tile the data section.
#include <cstdint>

#include "base/check.h"
#include "tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto tensors = baleen::parse_safetensors({data, size});
    if (!tensors) {
        CHECK(!tensors.error().message.empty());
        return 0;
    }
    const uint8_t* next = tensors->empty() ? data + size : (*tensors)[0].data.data();
    for (const baleen::StoredTensor& tensor : *tensors) {
        CHECK(tensor.data.data() == next);
        next += tensor.data.size();
    }
    CHECK(next == data + size);
    return 0;
}
