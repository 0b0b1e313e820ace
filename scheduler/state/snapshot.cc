// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/snapshot.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace partage::scheduler {
namespace {

// FNV-1a over 8 bytes at a time: node names share long prefixes, so every byte must count, and a name is hashed for each candidate of each filter.
std::uint32_t HashName(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u ^ name.size();
  const char* at = name.data();
  std::size_t left = name.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  std::uint64_t tail = 0;
  std::memcpy(&tail, at, left);
  hash = (hash ^ tail) * 0x9E3779B97F4A7C15u;
  return static_cast<std::uint32_t>(hash >> 32);
}

}  // namespace

void Block::RefreshRow(std::uint32_t row) {
  NodeRow& node = rows[row];
  node.used = node.total = {};
  node.open_devices = 0;
  node.max_free_mib = node.max_free_cores = 0;
  for (std::uint32_t d = node.first; d < node.first + node.count; ++d) {
    if (exclusive_shares[d] > 0) {
      flags[d] |= kHeldExclusively;
    } else {
      flags[d] &= static_cast<std::uint8_t>(~kHeldExclusively);
    }
    node.total.slots += total_slots[d];
    node.total.mib += total_mib[d];
    node.total.cores += total_cores[d];
    node.used.slots += total_slots[d] - free_slots[d];
    node.used.mib += total_mib[d] - free_mib[d];
    node.used.cores += total_cores[d] - free_cores[d];
    if (flags[d] != 0 || free_slots[d] <= 0) continue;
    ++node.open_devices;
    node.max_free_mib = std::max(node.max_free_mib, free_mib[d]);
    node.max_free_cores = std::max(node.max_free_cores, free_cores[d]);
  }
}

DeviceView Block::View(std::uint32_t row, std::uint32_t position) const {
  const std::uint32_t d = rows[row].first + position;
  return {.device = &(*infos)[row]->inventory.devices[position],
          .position = static_cast<std::int32_t>(position),
          .used = {total_slots[d] - free_slots[d], total_mib[d] - free_mib[d], total_cores[d] - free_cores[d]},
          .total = {total_slots[d], total_mib[d], total_cores[d]}};
}

NodeIndex::NodeIndex(std::vector<std::pair<std::string, NodeId>> nodes, std::size_t id_limit)
    : names_(id_limit), ranks_(id_limit, 0), size_(nodes.size()) {
  std::sort(nodes.begin(), nodes.end());
  std::size_t length = 0;
  for (const auto& [name, id] : nodes) length += name.size();
  text_.reserve(length);
  slots_.resize(std::bit_ceil(std::max<std::size_t>(16, nodes.size() * 2)));
  ordered_.reserve(nodes.size());
  for (const auto& [name, id] : nodes) {
    const std::size_t start = text_.size();
    text_ += name;  // never reallocates: reserved above, so the views stay valid
    names_[id] = std::string_view(text_).substr(start, name.size());
    ranks_[id] = static_cast<std::uint32_t>(ordered_.size());
    ordered_.push_back(id);
    const std::uint32_t hash = HashName(name);
    std::size_t place = hash & (slots_.size() - 1);
    while (slots_[place].id != kNoNode) place = (place + 1) & (slots_.size() - 1);
    slots_[place] = {hash, id};
  }
}

NodeId NodeIndex::Find(std::string_view name) const {
  const std::uint32_t hash = HashName(name);
  for (std::size_t place = hash & (slots_.size() - 1);; place = (place + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[place];
    if (slot.id == kNoNode) return kNoNode;
    if (slot.hash == hash && names_[slot.id] == name) return slot.id;
  }
}

}  // namespace partage::scheduler
