// An owning, page-aligned, fixed-size array of a trivial type. Elements start as zero bytes.
// Move-only. Scratch memory and KV state are made of these; nothing resizes one while running.
#pragma once

#include <sys/mman.h>

#include <cstddef>
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
    // Out of memory ends the program (std::bad_alloc is caught nowhere).
    explicit Buffer(size_t size) : size_(size) {
        if (size == 0) return;
        // Fresh anonymous pages are zero and cost memory only when first written.
        void* memory = ::mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        data_ = {static_cast<T*>(memory), Unmap{size * sizeof(T)}};
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
    struct Unmap {
        size_t bytes = 0;
        void operator()(T* p) const { ::munmap(p, bytes); }
    };
    std::unique_ptr<T, Unmap> data_;
    size_t size_ = 0;
};

}  // namespace baleen
