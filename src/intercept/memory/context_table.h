// SPDX-License-Identifier: Apache-2.0
// The contexts of this process: on which device each lives and what it costs.
#pragma once

#include <atomic>
#include <cstdint>

#include "intercept/lock.h"

namespace partage::intercept::memory {

/// Up to 255 contexts, known by an index of one byte so that a holding can name the one it dies with. Thread-safe. Zero-initialised means empty.
///
///   free → known (Enter) → dying (Detach: the driver may give its handle to a new context) → free (Remove) or known again (Attach)
class ContextTable {
 public:
  static constexpr unsigned kCapacity = 256;  ///< index 0 is "not known"

  constexpr ContextTable() = default;

  /// The index of a known context, or 0. A few loads, no lock.
  unsigned Find(std::uint64_t handle) const;

  /// The context's index, entered without charge if it was not known; 0: the table is full.
  unsigned Enter(std::uint64_t handle, unsigned device);

  /// The device a context was entered with.
  unsigned device(unsigned index) const { return contexts_[index].device.load(std::memory_order_relaxed); }

  /// What the context is charged for so far, `bytes` more.
  void Charge(unsigned index, std::uint64_t bytes);

  /// Before the driver destroys it: no longer found by its handle.
  void Detach(unsigned index);
  /// The driver refused: found by `handle` again.
  void Attach(unsigned index, std::uint64_t handle);
  /// It is gone, and its holdings were taken: the index is free. Returns what it was charged.
  std::uint64_t Remove(unsigned index);

  /// Changes whenever a handle stops meaning what it meant; what a thread has cached under an older number is void.
  std::uint32_t generation() const { return generation_.load(std::memory_order_acquire); }

  /// In a forked child: forgets all, lock free.
  void ResetInChild();

 private:
  struct Context {
    std::atomic<std::uint64_t> handle{0};  // 0: free, or dying
    std::atomic<std::uint32_t> device{0};
    bool taken = false;         // guarded by lock_
    std::uint64_t charged = 0;  // guarded by lock_
  };

  Lock lock_;
  std::atomic<std::uint32_t> generation_{1};
  std::atomic<unsigned> bound_{1};  // indices in use are below this
  Context contexts_[kCapacity];
};

}  // namespace partage::intercept::memory
