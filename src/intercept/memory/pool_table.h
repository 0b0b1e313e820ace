// SPDX-License-Identifier: Apache-2.0
// The memory pools of this process, by handle.
#pragma once

#include <atomic>
#include <cstdint>

#include "intercept/lock.h"
#include "intercept/memory/pool_account.h"

namespace partage::intercept::memory {

/// One pool. `lock` guards what is not atomic, and is held while the driver is asked what the pool has reserved.
///
///   free → open (Open) → dying (Detach) → closed (Close: blocks still in use keep their memory) → free (last block freed)
///                              └→ open again (Attach: the driver refused)
struct Pool {
  Lock lock;
  std::atomic<bool> stale{false};        ///< has more than its blocks use: may shrink unseen
  std::atomic<std::uint64_t> handle{0};  ///< 0: free, or closed
  unsigned device = 0;                   ///< index in the limits file
  bool taken = false;                    ///< not free
  bool closed = false;                   ///< its handle is gone for good
  PoolAccount account;
  std::uint64_t in_use = 0;  ///< bytes of recorded blocks
};

/// Up to 255 pools, known by an index of one byte so that a block's record can name its pool. Thread-safe. Zero-initialised means empty.
class PoolTable {
 public:
  static constexpr unsigned kCapacity = 256;  ///< index 0 is "no pool"

  constexpr PoolTable() = default;

  /// The open pool's index; 0: not known. A few loads, no lock.
  unsigned Find(std::uint64_t handle) const;

  /// The pool's index, entered if it was not known; 0: the table is full.
  unsigned Open(std::uint64_t handle, unsigned device);

  /// Before cuMemPoolDestroy: no longer found by its handle, which the driver may give to a new pool.
  void Detach(unsigned index) { pools_[index].handle.store(0, std::memory_order_release); }
  /// The driver refused: found by `handle` again.
  void Attach(unsigned index, std::uint64_t handle) { pools_[index].handle.store(handle, std::memory_order_release); }
  /// After it. Returns what is due now; the rest comes with the last Freed.
  std::uint64_t Close(unsigned index);

  /// A block of `bytes` is in use.
  void Used(unsigned index, std::uint64_t bytes);

  /// A block of `bytes` was freed. Returns what is due, which is 0 while the pool is open: then it is stale instead.
  std::uint64_t Freed(unsigned index, std::uint64_t bytes);

  /// REQUIRES: 0 < index < kCapacity.
  Pool& At(unsigned index) { return pools_[index]; }

  /// Indices in use are below this.
  unsigned bound() const { return bound_.load(std::memory_order_acquire); }

  /// In a forked child: forgets all, locks free.
  void ResetInChild();

 private:
  /// REQUIRES: the pool's lock. What a closed pool's blocks no longer need.
  static std::uint64_t Shrink(Pool& pool);

  Lock lock_;  // entering
  std::atomic<unsigned> bound_{1};
  Pool pools_[kCapacity];
};

}  // namespace partage::intercept::memory
