// SPDX-License-Identifier: Apache-2.0
// What every vendor definition owes: it loads, it clashes with no other, and its own examples come true.
#include <catch2/catch.hpp>

#include <yaml-cpp/yaml.h>

#include "vendors/vendor.h"

namespace partage::vendors {
namespace {

Quantities ReadLimits(const YAML::Node& example) {
  Quantities limits;
  for (const auto& limit : example["limits"]) limits[limit.first.as<std::string>()] = limit.second.as<std::string>();
  return limits;
}

Result<device::PodRequest> Ask(const YAML::Node& example) {
  const PodInput pod{.containers = {{.name = "main", .limits = ReadLimits(example), .requests = {}}}, .annotations = {}};
  return Catalog::Embedded().Parse(pod, {});
}

void CheckRequest(const YAML::Node& expected, const device::PodRequest& request, const std::string& vendor) {
  const auto& container = request.containers.at(0);
  if (expected["count"].as<int>() == 0) {
    CHECK_FALSE(request.wants_devices());
    return;
  }
  REQUIRE(container.devices.size() == 1);
  const auto& devices = container.devices[0];
  CHECK(devices.vendor == vendor);
  CHECK(devices.count == expected["count"].as<int>());
  CHECK(devices.mib == expected["memoryMiB"].as<int>(0));
  CHECK(devices.percent == expected["percent"].as<int>(100));
  CHECK(devices.cores == expected["cores"].as<int>(0));
  CHECK(container.priority == expected["priority"].as<int>(-1));
}

void CheckExample(const YAML::Node& example, const std::string& vendor) {
  const auto request = Ask(example);
  if (example["error"]) {
    REQUIRE_FALSE(request.has_value());
    CHECK(request.error().code == Code::kInvalid);
    CHECK(request.error().message == example["error"].as<std::string>());
    return;
  }
  INFO((request ? "" : request.error().message));
  REQUIRE(request.has_value());
  CheckRequest(example["request"], *request, vendor);
  const auto warning = example["warning"] ? "container main: " + example["warning"].as<std::string>() : "";
  CHECK((request->warnings.empty() ? "" : request->warnings[0]) == warning);
}

TEST_CASE("Every vendor's examples come true") {
  for (const auto& text : EmbeddedDocuments()) {
    const auto document = YAML::Load(text);
    const auto vendor = document["name"].as<std::string>();
    REQUIRE(document["examples"].size() > 0);
    for (const auto& example : document["examples"]) {
      INFO(vendor << ": " << example["title"].as<std::string>());
      CheckExample(example, vendor);
    }
  }
}

TEST_CASE("The embedded vendors load together and are found by name") {
  const auto catalog = Catalog::Embedded();
  REQUIRE(catalog.vendors().size() == EmbeddedDocuments().size());
  for (const auto& vendor : catalog.vendors()) {
    CHECK(catalog.Find(vendor.name) == &vendor);
    CHECK_FALSE(vendor.word.empty());
    CHECK_FALSE(vendor.Resources().empty());
  }
}

TEST_CASE("A count of one is understood by every vendor") {
  const auto catalog = Catalog::Embedded();
  for (const auto& vendor : catalog.vendors()) {
    const PodInput pod{.containers = {{.name = "main", .limits = {{vendor.count_resource, "1"}}, .requests = {}}}, .annotations = {}};
    INFO(vendor.name);
    CHECK(catalog.Wants(pod));
    CHECK(catalog.Parse(pod, {})->containers[0].devices.at(0).count == 1);
  }
}

}  // namespace
}  // namespace partage::vendors
