#include "sandbox/image/decompress.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace baleen::sandbox::image {
namespace {

constexpr size_t kInputBytes = 128 << 10;

class GzipSource : public ByteSource {
  public:
    explicit GzipSource(ByteSource& source) : source_(source), input_(kInputBytes) {
        constexpr int kGzipOnly = 15 + 16;  // the largest window; a gzip header is required
        // Fails only without memory, or with another zlib than it was compiled for.
        CHECK_EQ(::inflateInit2(&stream_, kGzipOnly), Z_OK);
    }
    ~GzipSource() override { ::inflateEnd(&stream_); }

    Result<size_t> read(std::span<uint8_t> buffer) override {
        stream_.next_out = buffer.data();
        const auto room = static_cast<uInt>(std::min<size_t>(buffer.size(), 1U << 30));
        stream_.avail_out = room;
        while (stream_.avail_out == room) {
            if (stream_.avail_in == 0) {
                stream_.avail_in = static_cast<uInt>(TRY(source_.read(input_)));
                stream_.next_in = input_.data();
                if (stream_.avail_in == 0 && is_between_members_) return size_t{0};
                if (stream_.avail_in == 0)
                    return make_error(ErrorCode::kCorrupt, "the gzip stream ends too early");
            }
            is_between_members_ = false;
            const int status = ::inflate(&stream_, Z_NO_FLUSH);
            if (status == Z_STREAM_END) {
                CHECK_EQ(::inflateReset(&stream_), Z_OK);
                is_between_members_ = true;
            } else if (status != Z_OK && status != Z_BUF_ERROR) {
                return make_error(ErrorCode::kCorrupt, "the gzip stream is damaged: {}",
                                  stream_.msg != nullptr ? stream_.msg : "no details");
            }
        }
        return size_t{room - stream_.avail_out};
    }

  private:
    ByteSource& source_;
    std::vector<uint8_t> input_;
    z_stream stream_{};
    bool is_between_members_ = false;  // an empty input is not a gzip stream
};

class ZstdSource : public ByteSource {
  public:
    explicit ZstdSource(ByteSource& source)
        : source_(source), input_(kInputBytes), context_(::ZSTD_createDCtx()) {
        CHECK(context_ != nullptr);
        constexpr int kWindowBitsMax = 27;
        CHECK(!::ZSTD_isError(
            ::ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kWindowBitsMax)));
    }
    ~ZstdSource() override { ::ZSTD_freeDCtx(context_); }

    Result<size_t> read(std::span<uint8_t> buffer) override {
        ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
        while (out.pos == 0) {
            if (in_.pos == in_.size && !has_more_output_) {
                in_ = {input_.data(), TRY(source_.read(input_)), 0};
                if (in_.size == 0 && is_between_frames_) return size_t{0};
                if (in_.size == 0)
                    return make_error(ErrorCode::kCorrupt, "the zstd stream ends too early");
            }
            const size_t status = ::ZSTD_decompressStream(context_, &out, &in_);
            if (::ZSTD_isError(status))
                return make_error(ErrorCode::kCorrupt, "the zstd stream is damaged: {}",
                                  ::ZSTD_getErrorName(status));
            is_between_frames_ = status == 0;
            // A full buffer may leave decompressed bytes behind that need no further input.
            has_more_output_ = out.pos == out.size && status != 0;
        }
        return out.pos;
    }

  private:
    ByteSource& source_;
    std::vector<uint8_t> input_;
    ZSTD_DCtx* context_;
    ZSTD_inBuffer in_{nullptr, 0, 0};
    bool is_between_frames_ = false;  // an empty input is not a zstd stream
    bool has_more_output_ = false;
};

// Gives the bytes that were read ahead, then the rest.
class PrefixedSource : public ByteSource {
  public:
    PrefixedSource(std::vector<uint8_t> prefix, ByteSource& rest)
        : prefix_(std::move(prefix)), rest_(rest) {}

    Result<size_t> read(std::span<uint8_t> buffer) override {
        if (given_ == prefix_.size()) return rest_.read(buffer);
        const size_t n = std::min(buffer.size(), prefix_.size() - given_);
        std::copy_n(prefix_.begin() + static_cast<std::ptrdiff_t>(given_), n, buffer.begin());
        given_ += n;
        return n;
    }

  private:
    std::vector<uint8_t> prefix_;
    size_t given_ = 0;
    ByteSource& rest_;
};

// A source together with the one that it reads from.
class OwningSource : public ByteSource {
  public:
    OwningSource(std::unique_ptr<ByteSource> below, std::unique_ptr<ByteSource> above)
        : below_(std::move(below)), above_(std::move(above)) {}
    Result<size_t> read(std::span<uint8_t> buffer) override { return above_->read(buffer); }

  private:
    std::unique_ptr<ByteSource> below_;
    std::unique_ptr<ByteSource> above_;
};

class PlainSource : public ByteSource {
  public:
    explicit PlainSource(ByteSource& source) : source_(source) {}
    Result<size_t> read(std::span<uint8_t> buffer) override { return source_.read(buffer); }

  private:
    ByteSource& source_;
};

Compression compression_of(std::span<const uint8_t> bytes) {
    constexpr std::array<uint8_t, 2> kGzipMagic = {0x1f, 0x8b};
    constexpr std::array<uint8_t, 4> kZstdMagic = {0x28, 0xb5, 0x2f, 0xfd};
    const auto begins_with = [&](std::span<const uint8_t> magic) {
        return bytes.size() >= magic.size() &&
               std::equal(magic.begin(), magic.end(), bytes.begin());
    };
    if (begins_with(kGzipMagic)) return Compression::kGzip;
    return begins_with(kZstdMagic) ? Compression::kZstd : Compression::kNone;
}

}  // namespace

Result<std::unique_ptr<ByteSource>> decompressed(ByteSource& source, Compression compression) {
    switch (compression) {
        case Compression::kGzip:
            return std::unique_ptr<ByteSource>(std::make_unique<GzipSource>(source));
        case Compression::kZstd:
            return std::unique_ptr<ByteSource>(std::make_unique<ZstdSource>(source));
        case Compression::kNone: break;
    }
    return std::unique_ptr<ByteSource>(std::make_unique<PlainSource>(source));
}

Result<std::unique_ptr<ByteSource>> decompressed_by_magic(ByteSource& source) {
    std::vector<uint8_t> prefix(4);
    prefix.resize(TRY(read_full(source, prefix)));
    const Compression compression = compression_of(prefix);
    auto below = std::make_unique<PrefixedSource>(std::move(prefix), source);
    if (compression == Compression::kNone) return std::unique_ptr<ByteSource>(std::move(below));
    auto above = TRY(decompressed(*below, compression));
    return std::unique_ptr<ByteSource>(
        std::make_unique<OwningSource>(std::move(below), std::move(above)));
}

}  // namespace baleen::sandbox::image
