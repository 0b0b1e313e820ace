// SPDX-License-Identifier: Apache-2.0
// What this process holds and what was charged for it, by device pointer or handle.
#pragma once

#include <cstdint>

#include "intercept/lock.h"
#include "intercept/memory/map.h"

namespace partage::intercept::memory {

/// What a holding is, so that each way of freeing finds only its own kind.
enum class Kind : std::uint8_t {
  kLinear = 1,  ///< cuMemAlloc, pitch
  kManaged,     ///< cuMemAllocManaged
  kPool,        ///< stream-ordered: the charge is its pool's, `bytes` only says how much of the pool is in use
  kArray,       ///< arrays and mipmapped arrays
  kModule,      ///< modules and libraries
  kExternal,    ///< imported from another API
};

/// One thing held, packed so that a million of them stay cheap.
struct Holding {
  std::uint64_t bytes : 48;   ///< charged; below 256 TiB
  std::uint64_t device : 4;   ///< index in the limits file
  std::uint64_t kind_of : 4;  ///< a Kind
  std::uint64_t owner : 8;    ///< index of its context, or of its pool when kPool; 0: not known

  static constexpr std::uint64_t kMostBytes = (std::uint64_t{1} << 48) - 1;
  Kind kind() const { return static_cast<Kind>(kind_of); }
};
static_assert(sizeof(Holding) == 8);

/// A set of kinds.
class Kinds {
 public:
  template <class... K>
  constexpr explicit Kinds(K... kinds) : bits_(((1U << static_cast<unsigned>(kinds)) | ...)) {}
  constexpr bool Has(Kind kind) const { return (bits_ >> static_cast<unsigned>(kind) & 1U) != 0; }

 private:
  unsigned bits_;
};

/// The table of holdings: sharded, one lock each, so that threads that allocate meet seldom. Thread-safe. Zero-initialised means empty.
///
/// Order that keeps it true though the driver may hand an address to another thread the moment it is free: Put after the driver's allocation,
/// Take before the driver's free (and Put back when that fails).
class Holdings {
 public:
  constexpr Holdings() = default;

  /// Records `holding` under `key`. `replaced` gets the one that was there (bytes 0: none): the driver freed it behind our back, its charge is
  /// due. False: no memory for the table, nothing recorded.
  bool Put(std::uint64_t key, Holding holding, Holding* replaced);

  /// Removes and returns the holding under `key` if its kind is one of `kinds`. False: none such.
  bool Take(std::uint64_t key, Kinds kinds, Holding* holding);

  /// Removes all of `kinds` that belong to `owner` and calls done(key, holding) for each, with the shard's lock held.
  template <class Done>
  void TakeOwned(unsigned owner, Kinds kinds, Done&& done) {
    for (Shard& shard : shards_) {
      const Locked locked(shard.lock);
      shard.map.EraseIf([&](std::uint64_t key, const Holding& holding) {
        const bool take = holding.owner == owner && kinds.Has(holding.kind());
        if (take) done(key, holding);
        return take;
      });
    }
  }

  /// How many are held; exact when nobody changes them.
  std::uint64_t size();

  /// In a forked child: forgets all, with every lock free. CUDA does not survive a fork, so nothing is held.
  void ResetInChild();

 private:
  struct alignas(64) Shard {
    Lock lock;
    Map<Holding> map;
  };
  static constexpr unsigned kShardBits = 4;

  /// By address bits above most of those that the map keeps together (eight blocks of up to 32 KiB).
  Shard& ShardOf(std::uint64_t key) { return shards_[((key >> 18) * 0xD6E8FEB86659FD93U) >> (64U - kShardBits)]; }

  Shard shards_[1U << kShardBits];
};

}  // namespace partage::intercept::memory
