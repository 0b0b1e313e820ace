// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <iterator>
#include <string>

#include "intercept/api/nvml.h"
#include "test/intercept/memory/gpu.h"

namespace partage::intercept {

// NVML as a program sees it that was linked with it.
#define PARTAGE_NVML_FUNCTION(ret, name, params, args, since, group) extern "C" ret name params;
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION

/// Ways of getting memory of which the driver takes exactly what is asked for, given kExact in its profile: what is charged, what the driver gave and what
/// the program holds can be compared to the byte.
enum class Way { kLinear, kPitched, kManaged, kArray, kPhysical, kPooled };
inline constexpr Way kWaysWithoutPools[] = {Way::kLinear, Way::kPitched, Way::kManaged, Way::kArray, Way::kPhysical};
inline const std::string kExact = "memory_granularity 1; array_granularity 1; vmm_granularity 64K; pool_chunk 2M";

struct Block {
  Way way = Way::kLinear;
  std::uint64_t bytes = 0;
  std::uint64_t handle = 0;
};

/// The bytes that this way gives out in one piece, at most `bytes`; 0: it has no piece that small.
constexpr std::uint64_t PieceOf(Way way, std::uint64_t bytes) {
  const std::uint64_t unit = way == Way::kPitched ? 512 : way == Way::kPhysical ? 64 << 10 : way == Way::kPooled ? 2 * kMiB : 1;
  return bytes / unit * unit;
}

/// Takes `bytes`, which must be a piece.
CUresult Take(Way way, std::uint64_t bytes, Block* block);
CUresult Free(const Block& block);

/// The device's bytes in use by the driver's own count, whoever uses them: the calling thread has a context, the hooks are not asked.
std::uint64_t TrulyUsed();

/// What NVML says is used of its device `index`; ~0 where it fails.
std::uint64_t UsedByNvml(unsigned index = 0);

/// What cuMemGetInfo says is not free; ~0 where it fails.
std::uint64_t UsedByCuda();

}  // namespace partage::intercept
