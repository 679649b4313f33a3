#pragma once
#include <cstdint>
#include <span>
#include <vector>
namespace baleen { struct TopkScratch{}; void select_topk(std::span<const float>, size_t, TopkScratch&, std::vector<int32_t>&); }
