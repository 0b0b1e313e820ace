// SPDX-License-Identifier: Apache-2.0
// How much memory ranges of addresses cover together.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm/layout.h"

namespace partage::intercept::memory {

/// Bytes by the index of the device in the limits file. Plain values.
struct GraphFootprint {
  std::uint64_t bytes[shm::kMaxDevices];
};

/// What a node allocates: addresses from `begin` up to `end`, which no two devices share.
struct Range {
  std::uint64_t begin, end;
  unsigned device;
};

/// Adds the bytes that ranges cover together; sorts them. Nodes whose lives do not overlap get the same addresses from the driver, so what a graph's
/// allocation nodes cover is what it takes.
void AddCovered(Range* ranges, std::size_t count, GraphFootprint* footprint);

}  // namespace partage::intercept::memory
