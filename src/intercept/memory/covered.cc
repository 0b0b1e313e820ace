// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/covered.h"

namespace partage::intercept::memory {

void AddCovered(Range* ranges, std::size_t count, GraphFootprint* footprint) {
  for (std::size_t gap = count / 2; gap > 0; gap /= 2) {  // Shell's sort: no library, no recursion
    for (std::size_t i = gap; i < count; ++i) {
      const Range moving = ranges[i];
      std::size_t at = i;
      for (; at >= gap && ranges[at - gap].begin > moving.begin; at -= gap) ranges[at] = ranges[at - gap];
      ranges[at] = moving;
    }
  }
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t begin = ranges[i].begin > end ? ranges[i].begin : end;
    if (ranges[i].end <= begin) continue;
    footprint->bytes[ranges[i].device] += ranges[i].end - begin;
    end = ranges[i].end;
  }
}

}  // namespace partage::intercept::memory
