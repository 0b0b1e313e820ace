// SPDX-License-Identifier: Apache-2.0

#include "device/device.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <tuple>

namespace partage::device {

std::string_view ToString(Mode mode) {
  switch (mode) {
    case Mode::kShared: return "shared";
    case Mode::kExclusive: return "exclusive";
    case Mode::kMig: return "mig";
    case Mode::kMps: return "mps";
  }
  return "shared";
}

std::optional<Mode> ParseMode(std::string_view word) {
  if (word == "hami-core") return Mode::kShared;
  for (const auto mode : {Mode::kShared, Mode::kExclusive, Mode::kMig, Mode::kMps}) {
    if (word == ToString(mode)) return mode;
  }
  return std::nullopt;
}

void NodeInventory::Append(NodeInventory other) {
  const auto before = devices.size();
  const bool linked = std::any_of(other.devices.begin(), other.devices.end(), [](const Device& d) { return !d.links.empty(); });
  for (auto& device : other.devices) {
    if (linked) device.links.insert(device.links.begin(), before, 0);
  }
  devices.insert(devices.end(), std::move_iterator(other.devices.begin()), std::move_iterator(other.devices.end()));
  Sort();
}

void NodeInventory::Sort() {
  std::vector<std::size_t> order(devices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const auto key = [&](std::size_t i) { return std::tie(devices[i].vendor, devices[i].index, devices[i].uuid); };
    return key(a) < key(b);
  });
  const bool linked = std::any_of(devices.begin(), devices.end(), [](const Device& d) { return !d.links.empty(); });
  std::vector<Device> sorted;
  sorted.reserve(devices.size());
  for (const auto place : order) {
    auto device = std::move(devices[place]);
    device.links.resize(linked ? order.size() : 0);
    auto links = device.links;
    for (std::size_t i = 0; i < links.size(); ++i) links[i] = device.links[order[i]];
    device.links = std::move(links);
    sorted.push_back(std::move(device));
  }
  devices = std::move(sorted);
}

std::int32_t NodeInventory::Find(std::string_view uuid) const {
  const auto found = std::find_if(devices.begin(), devices.end(), [&](const Device& d) { return d.uuid == uuid; });
  return found == devices.end() ? -1 : static_cast<std::int32_t>(found - devices.begin());
}

}  // namespace partage::device
