#include "cli/npy.h"

namespace baleen::cli {

Result<NpyWriter> NpyWriter::create(const std::string& path, std::span<const size_t> shape) {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
    for (size_t size : shape) header += fmt::format("{}, ", size);
    header += "), }";
    // Magic, version and length take 10 bytes; the whole is padded to a multiple of 64 and ends
    // in a newline.
    const size_t padded = (10 + header.size() + 1 + 63) / 64 * 64 - 10;
    header.resize(padded - 1, ' ');
    header += '\n';
    std::string prefix = "\x93NUMPY";
    prefix += '\x01';
    prefix += '\0';
    prefix += static_cast<char>(padded & 0xFF);
    prefix += static_cast<char>(padded >> 8);
    NpyWriter writer(TRY(FileWriter::create(path)));
    TRY(writer.file_.write(prefix + header));
    return writer;
}

Result<void> NpyWriter::write(std::span<const float> values) {
    return file_.write(
        std::span(reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()));
}

}  // namespace baleen::cli
