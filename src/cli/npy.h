// NumPy's .npy format, version 1.0: little-endian float32, C order.
#pragma once

#include <span>
#include <string>

#include "base/file.h"
#include "base/result.h"

namespace baleen::cli {

class NpyWriter {
  public:
    static Result<NpyWriter> create(const std::string& path, std::span<const size_t> shape);
    // Appends values; all writes together are the product of the shape.
    Result<void> write(std::span<const float> values);
    Result<void> close() { return file_.close(); }

  private:
    explicit NpyWriter(FileWriter file) : file_(std::move(file)) {}
    FileWriter file_;
};

}  // namespace baleen::cli
