#include "sandbox/image/byte_source.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace baleen::sandbox::image {

Result<size_t> read_full(ByteSource& source, std::span<uint8_t> buffer) {
    size_t done = 0;
    while (done < buffer.size()) {
        const size_t n = TRY(source.read(buffer.subspan(done)));
        if (n == 0) break;
        done += n;
    }
    return done;
}

Result<void> drain(ByteSource& source) {
    std::vector<uint8_t> buffer(1 << 16);
    while (TRY(source.read(buffer)) > 0) {
    }
    return {};
}

Result<size_t> MemorySource::read(std::span<uint8_t> buffer) {
    CHECK(!buffer.empty());
    const size_t n = std::min(buffer.size(), rest_.size());
    std::copy_n(rest_.begin(), n, buffer.begin());
    rest_ = rest_.subspan(n);
    return n;
}

Result<size_t> FileSource::read(std::span<uint8_t> buffer) {
    CHECK(!buffer.empty());
    while (true) {
        const ssize_t n = ::read(file_.get(), buffer.data(), buffer.size());
        if (n >= 0) return static_cast<size_t>(n);
        if (errno != EINTR) return io_error(path_, "read");
    }
}

Result<size_t> HashingSource::read(std::span<uint8_t> buffer) {
    const size_t n = TRY(source_.read(buffer));
    hash_.update(buffer.first(n));
    num_bytes_ += n;
    return n;
}

Result<void> MemorySink::write(std::span<const uint8_t> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return {};
}

Result<void> FileSink::write(std::span<const uint8_t> bytes) {
    return write_all(fd_, bytes, path_);
}

}  // namespace baleen::sandbox::image
