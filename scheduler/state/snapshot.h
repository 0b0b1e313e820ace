// SPDX-License-Identifier: Apache-2.0
// The cluster as filter and prioritize see it: immutable, shared by pointer, cheap to renew.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/allocation.h"
#include "device/device.h"
#include "scheduler/framework/policy.h"

namespace partage::scheduler {

/// Place of a node in the snapshot: block × kBlockNodes + row. Stable while the node exists, reused after.
using NodeId = std::uint32_t;
inline constexpr NodeId kNoNode = ~NodeId{0};
inline constexpr std::uint32_t kBlockNodes = 64;

/// What changes rarely about a node. Immutable.
struct NodeInfo {
  std::string name;
  device::NodeInventory inventory;
  std::string quarantine;  ///< why nothing new is placed here; empty: open
};

/// An Amount in 16 bytes: slots and cores beyond int32, which only a hostile allocation could claim, stay at its bounds.
struct PackedAmount {
  std::int64_t mib = 0;
  std::int32_t slots = 0, cores = 0;

  PackedAmount() = default;
  explicit PackedAmount(const Amount& amount);
  operator Amount() const { return {slots, mib, cores}; }  // NOLINT: it is one
  bool operator==(const PackedAmount&) const = default;
  bool operator==(const Amount& other) const { return Amount(*this) == other; }
};

/// One node's row: sums over its devices, kept up to date with each change instead of recomputed per request. A policy that needs another
/// per-node figure adds it here and to RefreshRow (snapshot.cc). One cache line: a filter call reads the rows of all its candidates.
struct alignas(64) NodeRow {
  std::uint32_t first = 0;  ///< its devices are [first, first + count) of the block's arrays
  std::uint32_t count = 0;
  bool present = false;             ///< known to the API server
  bool open = false;                ///< present and not quarantined
  std::uint32_t open_devices = 0;   ///< healthy, not cordoned, placeable, not held exclusively, with a free slot
  std::int32_t max_free_mib = 0;    ///< over open devices
  std::int32_t max_free_cores = 0;  ///< over open devices
  std::int32_t min_total_mib = 0;   ///< over open devices
  PackedAmount used, total;         ///< over all devices
};
static_assert(sizeof(NodeRow) == 64);

/// Why a device takes no new share whatever its room; bits.
enum DeviceFlag : std::uint8_t {
  kUnhealthy = 1,
  kCordoned = 2,
  kNotPlaceable = 4,  ///< mode MIG or MPS
  kHeldExclusively = 8,
};

/// What requests may filter devices by, apart from room and UUID: interned, so that a scan compares numbers.
struct DeviceKind {
  std::string vendor, model;
  device::Mode mode = device::Mode::kShared;
  bool operator==(const DeviceKind&) const = default;
};

/// One pod's share of one device, by the device's position in its node's inventory.
struct PositionUsage {
  std::uint32_t position = 0;
  device::DeviceUsage usage;
  bool operator==(const PositionUsage&) const = default;
};

/// 64 nodes and their devices, structure of arrays: a fit scan touches a few cache lines a node. Copied whole when one node in it changes.
struct Block {
  std::array<NodeRow, kBlockNodes> rows;
  std::shared_ptr<const std::vector<std::shared_ptr<const NodeInfo>>> infos;  ///< same order; null entries where !present
  // One element per device.
  std::vector<std::int64_t> free_mib, free_cores, total_mib, total_cores;  ///< free may be negative when a node shrank under its pods
  std::vector<std::int32_t> free_slots, total_slots, exclusive_shares;
  std::vector<std::uint16_t> kinds;  ///< index into Snapshot::kinds
  std::vector<std::uint8_t> flags;   ///< DeviceFlag bits

  /// Recomputes a row's sums from its devices.
  void RefreshRow(std::uint32_t row);
  DeviceView View(std::uint32_t row, std::uint32_t position) const;

  /// Takes shares off the row's devices (`sign` +1) or gives them back (-1).
  void Apply(std::uint32_t row, std::span<const PositionUsage> shares, int sign);
  /// Whether the row's devices take these shares within capacity, exclusive ones alone.
  bool CanTake(std::uint32_t row, std::span<const PositionUsage> shares) const;
  /// A block of this row alone, in its place, for trials: cheap to change.
  Block Only(std::uint32_t row) const;
};

/// Names ⇄ ids of the present nodes. Immutable; renewed only when nodes come or go.
class NodeIndex {
 public:
  NodeIndex(const NodeIndex&) = delete;
  NodeIndex& operator=(const NodeIndex&) = delete;
  /// Every id is below `id_limit`, which is at most 2^24 - 1.
  NodeIndex(std::vector<std::pair<std::string, NodeId>> nodes, std::size_t id_limit);

  /// kNoNode when unknown.
  NodeId Find(std::string_view name) const;
  /// Find of each name, several times as fast as one after another: memory is asked for many entries at once, and names are told apart by their hashes
  /// alone. Known names differ in those for certain (the constructor sees to it); a name that is unknown passes for a known one once in 10^12 times, so whoever
  /// acts on a node asks Find.
  std::vector<NodeId> FindAll(std::span<const std::string_view> names) const;
  /// The two halves of such a look-up, for callers with other work in between: hash the name and ask memory for its entry; later read the entry.
  std::uint64_t Expect(std::string_view name) const {
    const std::uint64_t hash = Hash(name);
    __builtin_prefetch(&buckets_[Start(hash)]);
    return hash;
  }
  NodeId FindExpected(std::uint64_t hash) const {
    // All entries of a bucket are compared without a branch: which one it is cannot be foreseen.
    for (std::size_t place = Start(hash);; place = Next(place)) {
      const Bucket& bucket = buckets_[place];
      std::uint64_t found = 0;
      for (const std::uint64_t entry : bucket.entries) found |= entry & (std::uint64_t{0} - std::uint64_t{Same(entry, hash)});
      if (found != 0) return static_cast<NodeId>(found & kIdMask);
      if (!bucket.full()) return kNoNode;
    }
  }
  /// Empty when absent. REQUIRES: id < id_limit().
  std::string_view Name(NodeId id) const { return names_[id]; }
  /// Order of the node by name: lower first. For ties.
  std::uint32_t Rank(NodeId id) const { return ranks_[id]; }
  std::size_t size() const { return size_; }
  std::size_t id_limit() const { return names_.size(); }
  /// Ids in name order.
  const std::vector<NodeId>& ordered() const { return ordered_; }

 private:
  // The upper bits of the hash and the id; the lower bits of the hash say where to look.
  static constexpr int kIdBits = 24;
  static constexpr std::uint64_t kIdMask = (std::uint64_t{1} << kIdBits) - 1;
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // hashes have the two top bits 01, so none is empty or 0
  struct alignas(32) Bucket {
    std::array<std::uint64_t, 4> entries{kEmpty, kEmpty, kEmpty, kEmpty};
    bool full() const { return entries.back() != kEmpty; }
  };
  static bool Same(std::uint64_t entry, std::uint64_t hash) { return (entry ^ hash) >> kIdBits == 0; }

  std::uint64_t Hash(std::string_view name) const;
  std::size_t Start(std::uint64_t hash) const { return hash & (buckets_.size() - 1); }
  std::size_t Next(std::size_t place) const { return (place + 1) & (buckets_.size() - 1); }
  bool FillBuckets();

  std::string text_;  // all names, back to back; names_ points into it
  std::vector<std::string_view> names_;
  std::vector<std::uint32_t> ranks_;
  std::vector<NodeId> ordered_;
  std::vector<Bucket> buckets_;  // open addressing, power of two
  std::uint64_t seed_;           // by chance, so that nobody can choose names that collide
  std::size_t size_ = 0;
};

/// Immutable view of all nodes and devices, nominal and in-flight reservations taken off.
struct Snapshot {
  std::uint64_t version = 0;  ///< grows with every published change
  std::vector<std::shared_ptr<const Block>> blocks;
  std::shared_ptr<const NodeIndex> index;
  std::shared_ptr<const std::vector<DeviceKind>> kinds;  ///< only ever grows

  const Block& block(NodeId id) const { return *blocks[id / kBlockNodes]; }
  const NodeRow& row(NodeId id) const { return block(id).rows[id % kBlockNodes]; }
  const NodeInfo& info(NodeId id) const { return *(*block(id).infos)[id % kBlockNodes]; }
};

}  // namespace partage::scheduler
