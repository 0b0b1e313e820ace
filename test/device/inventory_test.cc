// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "device/device.h"

namespace partage::device {
namespace {

Device Make(std::string vendor, std::string uuid, std::int32_t index, std::vector<std::int32_t> links = {}) {
  Device device;
  device.vendor = std::move(vendor);
  device.uuid = std::move(uuid);
  device.index = index;
  device.links = std::move(links);
  return device;
}

NodeInventory Of(std::vector<Device> devices) { return {.dialect = NodeInventory::Dialect::kHami, .devices = std::move(devices)}; }

std::int32_t LinkOf(const NodeInventory& inventory, std::string_view from, std::string_view to) {
  return inventory.devices.at(static_cast<std::size_t>(inventory.Find(from))).links.at(static_cast<std::size_t>(inventory.Find(to)));
}

TEST_CASE("A device is found by its UUID") {
  const auto inventory = Of({Make("nvidia", "a", 0), Make("nvidia", "b", 1)});
  CHECK(inventory.Find("b") == 1);
  CHECK(inventory.Find("c") == -1);
}

TEST_CASE("Sorting is by vendor, index and UUID, and links go with their devices") {
  auto inventory = Of({Make("v", "c", 2, {0, 21, 20}), Make("v", "b", 1, {12, 0, 10}), Make("v", "a", 0, {2, 1, 0})});
  inventory.Sort();
  CHECK(inventory.Find("a") == 0);
  CHECK(inventory.Find("c") == 2);
  CHECK(LinkOf(inventory, "c", "b") == 21);
  CHECK(LinkOf(inventory, "b", "c") == 12);
  CHECK(LinkOf(inventory, "a", "b") == 1);
}

TEST_CASE("Another vendor's devices join without disturbing links") {
  auto inventory = Of({Make("nvidia", "n0", 0, {0, 110}), Make("nvidia", "n1", 1, {110, 0})});
  inventory.Append(Of({Make("amd", "a0", 0, {0, 60}), Make("amd", "a1", 1, {60, 0})}));
  CHECK(inventory.devices.front().uuid == "a0");
  CHECK(LinkOf(inventory, "n0", "n1") == 110);
  CHECK(LinkOf(inventory, "a1", "a0") == 60);
  CHECK(LinkOf(inventory, "a0", "n0") == 0);
}

TEST_CASE("Vendors without links stay without") {
  auto inventory = Of({Make("nvidia", "n0", 0)});
  inventory.Append(Of({Make("amd", "a0", 0)}));
  CHECK(inventory.devices[0].links.empty());
  CHECK(inventory.devices[1].links.empty());
}

TEST_CASE("Modes are read as they are written, HAMi's word too") {
  for (const auto mode : {Mode::kShared, Mode::kExclusive, Mode::kMig, Mode::kMps}) CHECK(ParseMode(ToString(mode)) == mode);
  CHECK(ParseMode("hami-core") == Mode::kShared);
  CHECK_FALSE(ParseMode("SHARED").has_value());
}

}  // namespace
}  // namespace partage::device
