// An owning, 64-byte aligned, fixed-size array of a trivial type. Elements start as zero bytes.
// Move-only. Scratch memory and KV state are made of these; nothing resizes one while running.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace baleen {

template <typename T>
class Buffer {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    Buffer() = default;
    explicit Buffer(size_t size) : size_(size) {
        if (size == 0) return;
        const size_t bytes = (size * sizeof(T) + 63) / 64 * 64;
        void* memory = std::aligned_alloc(64, bytes);
        if (memory == nullptr) throw std::bad_alloc();
        std::memset(memory, 0, bytes);
        data_.reset(static_cast<T*>(memory));
    }

    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    size_t size() const { return size_; }
    T& operator[](size_t i) { return data_.get()[i]; }
    const T& operator[](size_t i) const { return data_.get()[i]; }
    std::span<T> span() { return {data_.get(), size_}; }
    std::span<const T> span() const { return {data_.get(), size_}; }
    // Row r of a row-major matrix of `cols` columns.
    std::span<T> row(size_t r, size_t cols) { return {data_.get() + r * cols, cols}; }
    std::span<const T> row(size_t r, size_t cols) const { return {data_.get() + r * cols, cols}; }

  private:
    struct Free {
        void operator()(T* p) const { std::free(p); }
    };
    std::unique_ptr<T, Free> data_;
    size_t size_ = 0;
};

}  // namespace baleen
