// Progress of a long command on stderr: one line redrawn on a terminal, else a line per tenth and,
// for tokens and steps, at most one in ten seconds, so that a quick command prints none.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace baleen::cli {

class Progress {
  public:
    enum class Unit { kBytes, kTokens, kSteps };  // tokens come with their rate since creation

    explicit Progress(std::string what, Unit unit = Unit::kBytes);
    ~Progress();  // ends the redrawn line
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // Cheap enough for every few megabytes.
    void update(uint64_t done, uint64_t total);

  private:
    std::string text(uint64_t done, uint64_t total) const;

    std::string what_;
    Unit unit_;
    bool is_terminal_;
    bool line_open_ = false;
    uint64_t tenths_shown_ = 0;
    std::chrono::steady_clock::time_point created_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point last_drawn_ = created_;
};

// "159.6 GB", "12.3 MB", "420 B".
std::string bytes_text(uint64_t bytes);

}  // namespace baleen::cli
