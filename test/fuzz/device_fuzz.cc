// SPDX-License-Identifier: Apache-2.0
// Inventories and allocations in both dialects, and quantities.
#include <set>
#include <string>

#include <simdjson.h>

#include "base/check.h"
#include "base/quantity.h"
#include "device/allocation_codec.h"
#include "device/inventory_codec.h"
#include "test/fuzz/fuzz.h"

namespace partage::fuzz {
namespace {

const Registered kQuantity("quantity", [](std::string_view input) {
  const auto value = ParseWholeQuantity(input);
  if (value) PARTAGE_CHECK(ParseWholeQuantity(std::to_string(*value)).value_or(~*value) == *value, "a quantity is its value");
});

// Annotations are: they come out of JSON. What is not would be written with replacement characters.
bool IsText(std::string_view input) { return simdjson::validate_utf8(input.data(), input.size()); }

void CheckInventory(const device::NodeInventory& inventory) {
  const auto again = device::DecodeInventory(device::EncodeInventory(inventory));
  PARTAGE_CHECK(again.has_value(), "what we write can be read");
  PARTAGE_CHECK(again->devices == inventory.devices, "and says the same");
}

const Registered kInventory("inventory", [](std::string_view input) {
  if (const auto inventory = device::DecodeInventory(input)) CheckInventory(*inventory);
});

// Lines: register, score, cordon. HAMi leaves out what is zero, which our own dialect does not take: no writing and reading again.
const Registered kHamiInventory("hami_inventory", [](std::string_view input) {
  const auto pieces = Pieces(input, 3);
  const auto inventory = device::DecodeHamiInventory("nvidia", {pieces[0], pieces[1], pieces[2]});
  if (!inventory) return;
  std::set<std::string_view> uuids;
  for (const auto& device : inventory->devices) {
    PARTAGE_CHECK(!device.uuid.empty() && uuids.insert(device.uuid).second, "a device has a UUID of its own");
    PARTAGE_CHECK(device.mib >= 0 && device.slots >= 0 && device.cores >= 0, "and no less than nothing of anything");
    PARTAGE_CHECK(device.links.empty() || device.links.size() == inventory->devices.size(), "and a link to each device or none");
  }
});

void CheckAllocation(const device::Allocation& allocation) {
  const auto again = device::DecodeAllocation(device::EncodeAllocation(allocation));
  PARTAGE_CHECK(again.has_value(), "what we write can be read");
  PARTAGE_CHECK(*again == allocation, "and says the same");
  for (const auto& [uuid, usage] : device::CollapseUsage(allocation)) PARTAGE_CHECK(usage.mib >= 0, "shares add up without wrapping");
}

const Registered kAllocation("allocation", [](std::string_view input) {
  if (const auto allocation = device::DecodeAllocation(input)) CheckAllocation(*allocation);
});

// First line: a letter for each container of the pod, i init, s sidecar, a app, in capitals when it wants devices. Then HAMi's text.
std::vector<device::HamiContainer> Containers(std::string_view letters) {
  std::vector<device::HamiContainer> containers;
  for (const char letter : letters.substr(0, 16)) {
    const char small = static_cast<char>(letter | 0x20);
    const auto kind = small == 'i'   ? device::ContainerKind::kInit
                      : small == 's' ? device::ContainerKind::kSidecar
                                     : device::ContainerKind::kApp;
    containers.push_back({.name = "c" + std::to_string(containers.size()), .kind = kind, .wants_devices = letter != small});
  }
  return containers;
}

const Registered kHamiAllocation("hami_allocation", [](std::string_view input) {
  const auto pieces = Pieces(input, 2);
  const auto containers = Containers(pieces[0]);
  const auto allocation = device::DecodeHamiDevices(pieces[1], "nvidia", "n1", containers);
  if (!allocation || !IsText(input)) return;
  CheckAllocation(*allocation);
  const auto again = device::DecodeHamiDevices(device::EncodeHamiDevices(*allocation, "NVIDIA"), "nvidia", "n1", containers);
  PARTAGE_CHECK(again.has_value(), "HAMi's text that we write can be read");
  PARTAGE_CHECK(device::CollapseUsage(*again) == device::CollapseUsage(*allocation), "and takes the same");
});

}  // namespace
}  // namespace partage::fuzz
