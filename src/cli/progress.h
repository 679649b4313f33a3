// Progress of a long command on stderr: one line redrawn on a terminal, else a line per tenth.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace baleen::cli {

class Progress {
  public:
    explicit Progress(std::string what);
    ~Progress();  // ends the redrawn line
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // Cheap enough for every few megabytes.
    void update(uint64_t bytes_done, uint64_t bytes_total);

  private:
    std::string what_;
    bool is_terminal_;
    bool line_open_ = false;
    uint64_t tenths_shown_ = 0;
    std::chrono::steady_clock::time_point last_drawn_{};
};

// "159.6 GB", "12.3 MB", "420 B".
std::string bytes_text(uint64_t bytes);

}  // namespace baleen::cli
