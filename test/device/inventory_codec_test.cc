// SPDX-License-Identifier: Apache-2.0
#include "device/inventory_codec.h"

#include <catch2/catch.hpp>
#include <random>

#include "test/support/damage.h"

namespace partage::device {
namespace {

constexpr std::string_view kGolden =
    R"({"version":1,"devices":[)"
    R"({"vendor":"nvidia","uuid":"GPU-a","index":0,"model":"NVIDIA L4","memoryMiB":23034,"cores":100,"slots":10,"numa":0,"mode":"shared",)"
    R"("healthy":true,"cordoned":false,"links":{"GPU-b":120}},)"
    R"({"vendor":"nvidia","uuid":"GPU-b","index":1,"model":"NVIDIA L4","memoryMiB":23034,"cores":150,"slots":4,"numa":1,"mode":"mig",)"
    R"("healthy":false,"cordoned":true,"links":{"GPU-a":120}}]})";

std::string Refusal(std::string_view json) {
  const auto inventory = DecodeInventory(json);
  INFO(json);
  REQUIRE_FALSE(inventory.has_value());
  CHECK(inventory.error().code == Code::kInvalid);
  return inventory.error().message;
}

std::string WithDevice(std::string_view members) { return fmt::format(R"({{"version":1,"devices":[{{{}}}]}})", members); }

Device RandomDevice(std::mt19937& random, std::int32_t index) {
  Device device;
  device.vendor = random() % 2 ? "nvidia" : "amd";
  device.uuid = fmt::format("GPU-{}-\"é\\", index);
  device.model = fmt::format("Model {}", random());
  device.index = index;
  device.numa = static_cast<std::int32_t>(random() % 8);
  device.slots = static_cast<std::int32_t>(random() % (kMaxSlots + 1));
  device.mib = static_cast<std::int32_t>(random() >> 1);
  device.cores = static_cast<std::int32_t>(random() % (kMaxCores + 1));
  device.mode = static_cast<Mode>(random() % 4);
  device.healthy = random() % 2;
  device.cordoned = random() % 2;
  return device;
}

NodeInventory RandomInventory(std::mt19937& random) {
  NodeInventory inventory;
  const auto count = random() % 9;
  for (std::size_t i = 0; i < count; ++i) inventory.devices.push_back(RandomDevice(random, static_cast<std::int32_t>(i)));
  if (count >= 2 && random() % 2) {
    for (auto& device : inventory.devices) device.links.resize(count);
    for (std::size_t i = 1; i < count; ++i) inventory.devices[0].links[i] = 1 + static_cast<std::int32_t>(random() % 1000);
  }
  inventory.Sort();
  return inventory;
}

TEST_CASE("The golden inventory reads as documented and is written as it was read") {
  const auto inventory = DecodeInventory(kGolden);
  REQUIRE(inventory.has_value());
  CHECK(inventory->dialect == NodeInventory::Dialect::kPartage);
  REQUIRE(inventory->devices.size() == 2);
  const auto& b = inventory->devices[1];
  CHECK((b.uuid == "GPU-b" && b.model == "NVIDIA L4" && b.mib == 23034 && b.cores == 150 && b.slots == 4 && b.numa == 1));
  CHECK((b.mode == Mode::kMig && !b.healthy && b.cordoned));
  CHECK(b.links == std::vector<std::int32_t>{120, 0});
  CHECK(EncodeInventory(*inventory) == kGolden);
}

TEST_CASE("Members left out have their documented defaults") {
  const auto inventory = DecodeInventory(WithDevice(R"("uuid":"GPU-a","model":"L4","memoryMiB":1,"future":{"x":[1]})"));
  REQUIRE(inventory.has_value());
  const auto& device = inventory->devices.at(0);
  CHECK((device.vendor == "nvidia" && device.index == 0 && device.cores == 100 && device.slots == 10 && device.numa == 0));
  CHECK((device.mode == Mode::kShared && device.healthy && !device.cordoned && device.links.empty()));
}

TEST_CASE("A link to a device the node does not publish is left out") {
  const auto inventory = DecodeInventory(WithDevice(R"("uuid":"GPU-a","model":"L4","memoryMiB":1,"links":{"GPU-gone":60})"));
  REQUIRE(inventory.has_value());
  CHECK(inventory->devices[0].links.empty());
}

TEST_CASE("Every inventory reads back as itself") {
  std::mt19937 random(4);
  for (int i = 0; i < 500; ++i) {
    const auto inventory = RandomInventory(random);
    const auto back = DecodeInventory(EncodeInventory(inventory));
    REQUIRE(back.has_value());
    REQUIRE(*back == inventory);
  }
}

TEST_CASE("A refusal names the member and its value") {
  CHECK(Refusal("") == "\"\" is not JSON");
  CHECK(Refusal("{") == "\"{\" is not JSON");
  CHECK(Refusal("[]") == "inventory must be an object, not a list");
  CHECK(Refusal(R"({"devices":[]})") == "inventory.version is missing");
  CHECK(Refusal(R"({"version":2,"devices":[]})") == "inventory.version 2 is unknown; this program reads version 1");
  CHECK(Refusal(R"({"version":1})") == "inventory.devices is missing");
  CHECK(Refusal(R"({"version":1,"devices":{}})") == "inventory.devices must be a list, not an object");
  CHECK(Refusal(R"({"version":1,"devices":[7]})") == "inventory.devices[0] must be an object, not 7");
  CHECK(Refusal(WithDevice(R"("model":"L4","memoryMiB":1)")) == "inventory.devices[0].uuid is missing or empty");
  CHECK(Refusal(WithDevice(R"("uuid":"a","model":"L4")")) == "inventory.devices[0].memoryMiB is missing");
  CHECK(Refusal(WithDevice(R"("uuid":"a","model":"L4","memoryMiB":-1)")) ==
        "inventory.devices[0].memoryMiB must be a whole number from 0 to 2147483647, not -1");
  CHECK(Refusal(WithDevice(R"("uuid":"a","model":"L4","memoryMiB":1,"mode":"vfio")")) ==
        "inventory.devices[0].mode \"vfio\" is unknown; known are shared (hami-core), exclusive, mig and mps");
  CHECK(Refusal(WithDevice(R"("uuid":"a","model":"L4","memoryMiB":1},{"uuid":"a","model":"L4","memoryMiB":1)")) ==
        "inventory.devices[1]: two devices have the UUID \"a\"");
}

TEST_CASE("Numbers beyond their bounds and wrong types are refused") {
  for (const auto* value : {"2147483648", "18446744073709551615", "1.5", "3000.0", "1e3", "\"5\"", "true", "[]", "-1"}) {
    for (const auto* name : {"memoryMiB", "index", "numa", "slots", "cores"}) {
      CHECK(Refusal(WithDevice(fmt::format(R"("{}":{},"uuid":"a","model":"L4","memoryMiB":1)", name, value))).find("a whole number") !=
            std::string::npos);
    }
  }
  CHECK_FALSE(Refusal(WithDevice(R"("uuid":"a","model":"L4","memoryMiB":18446744073709551616)")).empty());
  CHECK_FALSE(Refusal(WithDevice(R"("uuid":"a","model":"L4","memoryMiB":1,"slots":100001)")).empty());
  CHECK_FALSE(Refusal(WithDevice(R"("uuid":"a","model":"L4","memoryMiB":1,"healthy":1)")).empty());
  CHECK_FALSE(Refusal(WithDevice(R"("uuid":"a","model":"L4","memoryMiB":1,"links":[1])")).empty());
  CHECK_FALSE(Refusal(WithDevice(R"("uuid":"a","model":"L4","memoryMiB":1,"links":{"b":-1})")).empty());
}

TEST_CASE("Damaged inventories are an error or an inventory, never a crash") {
  test::ForEachDamaged(kGolden, 5'000, [](const std::string& damaged) {
    const auto inventory = DecodeInventory(damaged);
    if (inventory) {
      REQUIRE(DecodeInventory(EncodeInventory(*inventory)).has_value());
    } else {
      REQUIRE(inventory.error().code == Code::kInvalid);
    }
  });
}

TEST_CASE("Documents made to exhaust the reader are refused in time") {
  CHECK_FALSE(DecodeInventory(std::string(200'000, '[')).has_value());
  std::string nested = R"({"version":1,"devices":)";
  for (int i = 0; i < 100'000; ++i) nested += "[";
  CHECK_FALSE(DecodeInventory(nested + std::string(100'000, ']') + "}").has_value());
  std::string crowd = R"({"version":1,"devices":[)";
  for (int i = 0; i < 20'000; ++i) crowd += fmt::format(R"({}{{"uuid":"{}","model":"x","memoryMiB":1}})", i ? "," : "", i);
  CHECK(Refusal(crowd + "]}").find("more than 1024 devices") != std::string::npos);
}

}  // namespace
}  // namespace partage::device
