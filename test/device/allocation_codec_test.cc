// SPDX-License-Identifier: Apache-2.0
#include "device/allocation_codec.h"

#include <catch2/catch.hpp>
#include <random>

#include "test/support/damage.h"

namespace partage::device {
namespace {

constexpr std::string_view kGolden =
    R"({"version":1,"node":"n1","containers":[{"name":"warm","kind":"init","shares":[]},)"
    R"({"name":"proxy","kind":"sidecar","vendor":"nvidia","shares":[{"uuid":"GPU-b","memoryMiB":100,"cores":0}]},)"
    R"({"name":"main","kind":"app","vendor":"nvidia","priority":0,"shares":[{"uuid":"GPU-a","memoryMiB":3000,"cores":30}]}]})";

std::string Refusal(std::string_view json) {
  const auto allocation = DecodeAllocation(json);
  INFO(json);
  REQUIRE_FALSE(allocation.has_value());
  CHECK(allocation.error().code == Code::kInvalid);
  return allocation.error().message;
}

std::string WithContainer(std::string_view members) { return fmt::format(R"({{"version":1,"node":"n","containers":[{{{}}}]}})", members); }

Allocation RandomAllocation(std::mt19937& random) {
  Allocation allocation{.node = fmt::format("node-{}", random()), .containers = {}};
  for (auto c = random() % 5; c > 0; --c) {
    ContainerAllocation container;
    container.name = fmt::format("c{}", c);
    container.kind = static_cast<ContainerKind>(random() % 3);
    container.priority = static_cast<std::int32_t>(random() % 3) - 1;
    for (auto s = random() % 4; s > 0; --s) {
      container.shares.push_back(
          {fmt::format("GPU-{}", s), static_cast<std::int32_t>(random() >> 1), static_cast<std::int32_t>(random() % 100'001)});
    }
    if (!container.shares.empty()) container.vendor = "nvidia";
    allocation.containers.push_back(std::move(container));
  }
  return allocation;
}

TEST_CASE("The golden allocation reads as documented and is written as it was read") {
  const auto allocation = DecodeAllocation(kGolden);
  REQUIRE(allocation.has_value());
  const Allocation expected{.node = "n1",
                            .containers = {{"warm", ContainerKind::kInit, -1, "", {}},
                                           {"proxy", ContainerKind::kSidecar, -1, "nvidia", {{"GPU-b", 100, 0}}},
                                           {"main", ContainerKind::kApp, 0, "nvidia", {{"GPU-a", 3000, 30}}}}};
  CHECK(*allocation == expected);
  CHECK(EncodeAllocation(*allocation) == kGolden);
}

TEST_CASE("Every allocation reads back as itself") {
  std::mt19937 random(5);
  for (int i = 0; i < 1'000; ++i) {
    const auto allocation = RandomAllocation(random);
    const auto back = DecodeAllocation(EncodeAllocation(allocation));
    REQUIRE(back.has_value());
    REQUIRE(*back == allocation);
  }
}

TEST_CASE("Members of a newer writer are ignored") {
  CHECK(DecodeAllocation(R"({"version":1,"node":"n","by":"x","containers":[{"name":"a","tier":3,"shares":[{"uuid":"g","mig":{}}]}]})")
            .has_value());
}

TEST_CASE("A refusal of an allocation names the member and its value") {
  CHECK(Refusal("nonsense") == "\"nonsense\" is not JSON");
  CHECK(Refusal("null") == "allocation must be an object, not null");
  CHECK(Refusal(R"({"version":2,"node":"n","containers":[]})") == "allocation.version 2 is unknown; this program reads version 1");
  CHECK(Refusal(R"({"version":1,"containers":[]})") == "allocation.node is missing or empty");
  CHECK(Refusal(R"({"version":1,"node":"n"})") == "allocation.containers is missing");
  CHECK(Refusal(WithContainer(R"("name":"a","kind":"pause")")) ==
        "allocation.containers[0].kind \"pause\" is unknown; known are init, sidecar and app");
  CHECK(Refusal(WithContainer(R"("name":"a","shares":[{"uuid":""}])")) == "allocation.containers[0].shares[0].uuid is missing or empty");
  CHECK(Refusal(WithContainer(R"("name":"a","shares":[{"uuid":"g","memoryMiB":-5}])")) ==
        "allocation.containers[0].shares[0].memoryMiB must be a whole number from 0 to 2147483647, not -5");
  CHECK(Refusal(WithContainer(R"("name":"a","shares":[{"uuid":"g","cores":2147483648}])")) ==
        "allocation.containers[0].shares[0].cores must be a whole number from 0 to 100000, not 2147483648");
  CHECK(Refusal(WithContainer(R"("name":"a"},{"name":"a")")) == "allocation.containers[1]: a second container \"a\"");
  CHECK(Refusal(WithContainer(R"("name":"a","shares":[{"uuid":"g"},{"uuid":"g"}])")) ==
        "allocation.containers[0].shares[1]: a second share of the device \"g\"");
}

TEST_CASE("Damaged allocations are an error or an allocation, never a crash") {
  test::ForEachDamaged(kGolden, 5'000, [](const std::string& damaged) {
    const auto allocation = DecodeAllocation(damaged);
    if (allocation) {
      REQUIRE(DecodeAllocation(EncodeAllocation(*allocation)).has_value());
    } else {
      REQUIRE(allocation.error().code == Code::kInvalid);
    }
  });
}

TEST_CASE("A crowd of containers is read in time") {
  std::string crowd = R"({"version":1,"node":"n","containers":[)";
  for (int i = 0; i < 20'000; ++i) crowd += fmt::format(R"({}{{"name":"{}"}})", i ? "," : "", i);
  CHECK(DecodeAllocation(crowd + "]}")->containers.size() == 20'000);
}

}  // namespace
}  // namespace partage::device
