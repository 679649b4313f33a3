// gzip and zstd streams as byte sources. Truncated, damaged or trailing bytes are errors.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "sandbox/image/byte_source.h"

namespace baleen::sandbox::image {

enum class Compression { kNone, kGzip, kZstd };

// The decompressed bytes of `source`, which must outlive the result. Several gzip members or zstd
// frames one after the other are one stream. zstd windows are bounded to 128 MiB.
Result<std::unique_ptr<ByteSource>> decompressed(ByteSource& source, Compression compression);

// The same after a look at the first bytes.
Result<std::unique_ptr<ByteSource>> decompressed_by_magic(ByteSource& source);

}  // namespace baleen::sandbox::image
