// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

namespace partage::intercept::limiter {

/// Names what is launched: a kernel with a class of grid sizes, or an executable graph. Never 0.
using CostKey = uint64_t;

/// Kernels with grids within about a fifth of each other share a cost.
inline CostKey KernelKey(const void* function, int device, uint32_t grid_x, uint32_t grid_y, uint32_t grid_z) {
  const uint64_t blocks = uint64_t{grid_x} * grid_y * grid_z | 1;
  const auto log2 = static_cast<uint64_t>(63 - std::countl_zero(blocks));
  const uint64_t quarter = (blocks << (63 - log2)) >> 61 & 3;
  const uint64_t variant = log2 * 64 + quarter * 16 + static_cast<uint64_t>(device);
  return (reinterpret_cast<uint64_t>(function) ^ variant << 50) * 0x9E37'79B9'7F4A'7C15u | 1;
}
inline CostKey GraphKey(const void* exec, int device) {
  return (reinterpret_cast<uint64_t>(exec) ^ static_cast<uint64_t>(device) << 50) * 0xD6E8'FEB8'6659'FD93u | 1;
}

/// What is known of one key. Owned by CostTable; launches read the first two.
struct alignas(64) CostCell {
  std::atomic<uint64_t> key;
  std::atomic<int64_t> fast_ns;  ///< what the fast path charges; kAskFirst while the slow path must be asked

  std::atomic<int64_t> cost_ns;         ///< what a launch is charged; nothing while there is no sample
  std::atomic<int64_t> mean_ns;         ///< running mean of spans
  std::atomic<int64_t> floor_ns;        ///< what spans come back to from above
  std::atomic<uint32_t> near_floor;     ///< how many recent spans were there, of kAll
  std::atomic<uint32_t> samples;        ///< measured so far, up to CostTable::kFirstFew
  std::atomic<uint32_t> guessed;        ///< launches charged by guess, to be settled by the first measurement
  std::atomic<int64_t> guessed_ns;      ///< what those were charged
  std::atomic<int64_t> first_stamp_ns;  ///< when the measurement that others wait for was launched; 0: none under way
  std::atomic<int64_t> touched_ns;      ///< when a slow path last used the cell: the oldest makes room
};
inline constexpr int64_t kAskFirst = INT64_MAX;

/// How far a measured span can be believed.
enum class Neighbours {
  kNone,  ///< nobody else used the GPU: the span is the cost, its mean is charged
  kUnknown,  ///< nobody says: the floor when spans come back to it often, as those of a constant kernel among neighbours do; the mean otherwise
  kBusy,  ///< other containers ran in between: the span is an upper bound, its floor is charged
};

/// Learns what launches cost in GPU time, per process: open addressing, fixed size, no allocation; all zero when new (static storage).
///
/// Spans measured while neighbours were busy include their time slices; hence two estimates, the mean and a floor that sinks at once and rises slowly.
/// Thread-safe; when more keys live than it holds, the one not seen for longest is forgotten and learned again.
class CostTable {
 public:
  static constexpr uint32_t kCells = 2048;
  static constexpr uint32_t kProbes = 8;
  static constexpr uint32_t kFirstFew = 4;  ///< so many launches of a new key are all measured

  /// The cell of this key, made if need be.
  CostCell& Find(CostKey key) {
    CostCell& home = Home(key);
    return home.key.load(std::memory_order_relaxed) == key ? home : FindSlow(key);
  }

  /// Where the key's cell is if nothing stands in its place.
  CostCell& Home(CostKey key) { return cells_[key >> 53]; }

  /// A launch of a key without a measurement is charged this; remembered until the measurement comes.
  int64_t Guess(CostCell& cell, int64_t at_least_ns);

  /// A launch of this key took `gpu_ns`. Returns what the bucket is still owed for launches that were guessed (negative: charged too much).
  int64_t Observe(CostCell& cell, CostKey key, int64_t gpu_ns, Neighbours neighbours);

  /// The key stands for something else from now on (an executable graph was destroyed).
  void Forget(CostKey key);

  /// Counts a cell as used, so that it is not the one to make room.
  static void Touch(CostCell& cell, int64_t now_ns) { cell.touched_ns.store(now_ns, std::memory_order_relaxed); }

 private:
  CostCell& FindSlow(CostKey key);
  CostCell* Probe(CostKey key);

  CostCell cells_[kCells];
  std::atomic<int64_t> typical_ns_;  // running mean over all keys: the guess for a new one
};
static_assert(CostTable::kCells == 1u << (64 - 53));

}  // namespace partage::intercept::limiter
