// SPDX-License-Identifier: Apache-2.0
// Physical memory of the virtual memory management calls: who still refers to it, and so when its charge is due back.
#pragma once

#include <cstdint>

#include "intercept/lock.h"
#include "intercept/memory/map.h"

namespace partage::intercept::memory {

/// A charge that is due back to a device; bytes 0: nothing is.
struct Due {
  unsigned device = 0;
  std::uint64_t bytes = 0;
};

/// Allocations made by cuMemCreate, counted by their references: each Create, Retain and repeated import is one, each mapping is one; the charge
/// is due when the last is gone, in whatever order handles and mappings go. The same allocation may be known by several handle values, and a
/// handle value is reused by the driver once it is released, so neither is the identity here. Thread-safe. Zero-initialised means empty.
///
/// Calls come in pairs around the driver's where a value may be reused by another thread the moment the driver lets go of it.
/// Handles that are not known (host memory, imports) are followed through mappings with no charge.
class HandleTable {
 public:
  constexpr HandleTable() = default;

  /// After cuMemCreate: `handle` has one reference and was charged. False: no memory for the table, nothing recorded.
  bool Created(std::uint64_t handle, unsigned device, std::uint64_t bytes);

  /// After cuMemRetainAllocationHandle gave `handle` for an address inside a mapping.
  void Retained(std::uint64_t handle, std::uint64_t address);

  /// After an import gave `handle`: one more reference if it is one of ours, else nothing (the exporter pays).
  void Imported(std::uint64_t handle);

  /// A release under way; allocation 0: the handle is not known.
  struct Release {
    std::uint64_t handle = 0;
    std::uint64_t allocation = 0;
  };
  /// Before cuMemRelease: the reference is no longer visible under this handle value.
  Release BeginRelease(std::uint64_t handle);
  /// After it: the reference is gone, or back when the driver refused.
  Due EndRelease(const Release& release, bool released);

  /// Before cuMemMap: the allocation behind `handle` (0: not known), held as by a mapping.
  std::uint64_t BeginMap(std::uint64_t handle);
  /// After it: the mapping is known by its address, or forgotten when the driver refused.
  Due EndMap(std::uint64_t allocation, std::uint64_t address, std::uint64_t bytes, bool mapped);

  /// After cuMemUnmap of a range, which may hold several mappings: calls refund(Due) for each allocation whose last reference this was.
  template <class Refund>
  void Unmapped(std::uint64_t address, std::uint64_t bytes, Refund&& refund) {
    constexpr std::uint64_t kSmallestMapping = 64U << 10;  // only steps over gaps: mappings made before we watched
    const Locked locked(lock_);
    for (std::uint64_t at = address; at - address < bytes && mappings_.size() > 0;) {
      Mapping mapping{};
      const bool known = mappings_.Take(at, &mapping);
      at += known && mapping.bytes > 0 ? mapping.bytes : kSmallestMapping;
      if (!known) continue;
      if (const Due due = Unpin(mapping.allocation); due.bytes > 0) refund(due);
    }
  }

  /// Allocations whose charge is not due yet.
  std::uint64_t size();

  /// In a forked child: forgets all, lock free.
  void ResetInChild();

 private:
  struct Allocation {
    std::uint64_t bytes;
    std::uint32_t device;
    std::uint32_t references;  // of handles
    std::uint32_t mappings;    // and of map calls under way
  };
  struct Handle {
    std::uint64_t allocation;
    std::uint32_t references;
  };
  struct Mapping {
    std::uint64_t allocation;  // 0: not ours
    std::uint64_t bytes;
  };

  /// One more reference to `allocation` under `handle`.
  bool Refer(std::uint64_t handle, std::uint64_t allocation);
  Due Unpin(std::uint64_t allocation);
  /// What is due after a reference or mapping went.
  Due Settle(std::uint64_t allocation, const Allocation& state);

  Lock lock_;
  std::uint64_t last_ = 0;  // allocations are numbered from 1
  Map<Allocation> allocations_;
  Map<Handle> handles_;
  Map<Mapping> mappings_;  // by start address
};

}  // namespace partage::intercept::memory
