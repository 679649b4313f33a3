// Seeded pseudo-random numbers (xoshiro256**, seeded by SplitMix64): the same sequence on every
// machine. Not for secrets.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace baleen {

__extension__ using Wide = unsigned __int128;

// One step of SplitMix64; also a good 64-bit mixing function for seeding by name.
constexpr uint64_t split_mix64(uint64_t& state) {
    state += 0x9E3779B97F4A7C15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

class Rng {
  public:
    explicit Rng(uint64_t seed) {
        for (uint64_t& word : state_) word = split_mix64(seed);
    }

    uint64_t next_u64() {
        const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const uint64_t t = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= t;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }

    // Uniform in [0, 1) with 53 bits.
    double next_double() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }

    // Uniform in [0, bound), bound > 0, without modulo bias worth speaking of (bound << 2^64).
    uint64_t next_below(uint64_t bound) {
        return static_cast<uint64_t>((static_cast<Wide>(next_u64()) * bound) >> 64);
    }

    // The whole state, so that a stored generator continues identically.
    const std::array<uint64_t, 4>& state() const { return state_; }
    void set_state(const std::array<uint64_t, 4>& state) { state_ = state; }

  private:
    std::array<uint64_t, 4> state_{};
};

}  // namespace baleen
