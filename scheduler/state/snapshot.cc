// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/snapshot.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <random>

#include "base/check.h"

namespace partage::scheduler {
namespace {

__extension__ typedef unsigned __int128 Uint128;

constexpr std::uint64_t kA = 0xa0761d6478bd642fu, kB = 0xe7037ed1a0b428dbu, kC = 0x8ebc6af09c88c6e3u;  // odd, half of the bits set

std::uint64_t Read64(const char* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

std::uint64_t Mix(std::uint64_t a, std::uint64_t b) {
  const Uint128 product = Uint128{a} * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::int32_t Saturated(std::int64_t value) {
  using Limits = std::numeric_limits<std::int32_t>;
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, Limits::min(), Limits::max()));
}

}  // namespace

PackedAmount::PackedAmount(const Amount& amount) : mib(amount.mib), slots(Saturated(amount.slots)), cores(Saturated(amount.cores)) {}

void Block::RefreshRow(std::uint32_t row) {
  NodeRow& node = rows[row];
  Amount used, total;
  node.open_devices = 0;
  node.max_free_mib = node.max_free_cores = 0;
  node.min_total_mib = std::numeric_limits<std::int32_t>::max();
  for (std::uint32_t d = node.first; d < node.first + node.count; ++d) {
    if (exclusive_shares[d] > 0) {
      flags[d] |= kHeldExclusively;
    } else {
      flags[d] &= static_cast<std::uint8_t>(~kHeldExclusively);
    }
    total.slots += total_slots[d];
    total.mib += total_mib[d];
    total.cores += total_cores[d];
    used.slots += total_slots[d] - free_slots[d];
    used.mib += total_mib[d] - free_mib[d];
    used.cores += total_cores[d] - free_cores[d];
    if (flags[d] != 0 || free_slots[d] <= 0) continue;
    ++node.open_devices;
    node.max_free_mib = std::max(node.max_free_mib, Saturated(free_mib[d]));
    node.max_free_cores = std::max(node.max_free_cores, Saturated(free_cores[d]));
    node.min_total_mib = std::min(node.min_total_mib, Saturated(total_mib[d]));
  }
  node.used = PackedAmount(used);
  node.total = PackedAmount(total);
}

void Block::Apply(std::uint32_t row, std::span<const PositionUsage> shares, int sign) {
  for (const auto& [position, usage] : shares) {
    const std::uint32_t d = rows[row].first + position;
    free_slots[d] -= sign * usage.slots;
    free_mib[d] -= sign * usage.mib;
    free_cores[d] -= sign * usage.cores;
    exclusive_shares[d] += usage.exclusive ? sign : 0;
  }
  RefreshRow(row);
}

bool Block::CanTake(std::uint32_t row, std::span<const PositionUsage> shares) const {
  for (const auto& [position, usage] : shares) {
    const std::uint32_t d = rows[row].first + position;
    if (flags[d] != 0 || free_slots[d] < usage.slots || free_mib[d] < usage.mib || free_cores[d] < usage.cores) return false;
    if (usage.exclusive && free_slots[d] != total_slots[d]) return false;
  }
  return true;
}

Block Block::Only(std::uint32_t row) const {
  const auto [first, count] = std::pair(rows[row].first, rows[row].count);
  const auto part = [first = first, count = count](const auto& values) {
    return std::decay_t<decltype(values)>(values.begin() + first, values.begin() + first + count);
  };
  Block only;
  only.rows[row] = rows[row];
  only.rows[row].first = 0;
  only.infos = infos;
  only.free_mib = part(free_mib);
  only.free_cores = part(free_cores);
  only.total_mib = part(total_mib);
  only.total_cores = part(total_cores);
  only.free_slots = part(free_slots);
  only.total_slots = part(total_slots);
  only.exclusive_shares = part(exclusive_shares);
  only.kinds = part(kinds);
  only.flags = part(flags);
  return only;
}

DeviceView Block::View(std::uint32_t row, std::uint32_t position) const {
  const std::uint32_t d = rows[row].first + position;
  return {.device = &(*infos)[row]->inventory.devices[position],
          .position = static_cast<std::int32_t>(position),
          .used = {total_slots[d] - free_slots[d], total_mib[d] - free_mib[d], total_cores[d] - free_cores[d]},
          .total = {total_slots[d], total_mib[d], total_cores[d]}};
}

// Node names share long prefixes, so every byte must count; and each candidate of each filter is hashed, so 16 bytes are taken at a time. A name's last 16
// bytes may overlap those before them.
std::uint64_t NodeIndex::Hash(std::string_view name) const {
  std::uint64_t hash = name.size() * kC ^ seed_;
  std::uint64_t low = 0, high = 0;
  if (name.size() >= 16) {
    const char* const tail = name.data() + name.size() - 16;
    for (const char* at = name.data(); at < tail; at += 16) hash = std::rotl(hash, 23) ^ Mix(Read64(at) ^ kA, Read64(at + 8) ^ kB);
    low = Read64(tail);
    high = Read64(tail + 8);
  } else if (name.size() >= 8) {
    low = Read64(name.data());
    high = Read64(name.data() + name.size() - 8);
  } else {
    for (const char c : name) low = low << 8 | static_cast<unsigned char>(c);
  }
  return Mix(hash ^ Mix(low ^ kA ^ seed_, high ^ kB), kC) >> 2 | std::uint64_t{1} << 62;
}

NodeIndex::NodeIndex(std::vector<std::pair<std::string, NodeId>> nodes, std::size_t id_limit)
    : names_(id_limit), ranks_(id_limit, 0), size_(nodes.size()) {
  PARTAGE_CHECK(id_limit <= kIdMask, "more nodes than Kubernetes can have");
  std::sort(nodes.begin(), nodes.end());
  std::size_t length = 0;
  for (const auto& [name, id] : nodes) length += name.size();
  text_.reserve(length);
  ordered_.reserve(nodes.size());
  for (const auto& [name, id] : nodes) {
    const std::size_t start = text_.size();
    text_ += name;  // never reallocates: reserved above, so the views stay valid
    names_[id] = std::string_view(text_).substr(start, name.size());
    ranks_[id] = static_cast<std::uint32_t>(ordered_.size());
    ordered_.push_back(id);
  }
  std::random_device chance;
  do {
    seed_ = std::uint64_t{chance()} << 32 | chance();
  } while (!FillBuckets());
}

// False when two names have one hash.
bool NodeIndex::FillBuckets() {
  buckets_.assign(std::bit_ceil(std::max<std::size_t>(4, size_ / 2)), Bucket{});
  for (const NodeId id : ordered_) {
    const std::uint64_t hash = Hash(names_[id]);
    if (const NodeId twin = FindExpected(hash); twin != kNoNode && names_[twin] != names_[id]) return false;
    std::size_t place = Start(hash);
    while (buckets_[place].full()) place = Next(place);
    auto& entries = buckets_[place].entries;
    *std::find(entries.begin(), entries.end(), kEmpty) = (hash & ~kIdMask) | id;
  }
  return true;
}

NodeId NodeIndex::Find(std::string_view name) const {
  const NodeId id = FindExpected(Hash(name));
  return id != kNoNode && names_[id] == name ? id : kNoNode;
}

std::vector<NodeId> NodeIndex::FindAll(std::span<const std::string_view> names) const {
  constexpr std::size_t kBatch = 32;
  std::vector<NodeId> ids(names.size());
  std::array<std::uint64_t, kBatch> hashes;
  for (std::size_t start = 0; start < names.size(); start += kBatch) {
    const auto batch = names.subspan(start, std::min(kBatch, names.size() - start));
    for (std::size_t i = 0; i < batch.size(); ++i) hashes[i] = Expect(batch[i]);
    for (std::size_t i = 0; i < batch.size(); ++i) ids[start + i] = FindExpected(hashes[i]);
  }
  return ids;
}

}  // namespace partage::scheduler
