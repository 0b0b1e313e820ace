// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <random>

#include "device/allocation_codec.h"
#include "test/support/damage.h"

namespace partage::device {
namespace {

constexpr bool kWants = true;
constexpr bool kNone = false;
using Kind = ContainerKind;
using Containers = std::vector<HamiContainer>;

Result<Allocation> Decode(std::string_view text, const Containers& containers) {
  return DecodeHamiDevices(text, "nvidia", "n1", containers);
}

// "a=GPU-x b=" : which container got which devices.
std::string Given(std::string_view text, const Containers& containers) {
  const auto allocation = Decode(text, containers);
  INFO(text << (allocation ? "" : allocation.error().message));
  REQUIRE(allocation.has_value());
  std::string given;
  for (const auto& container : allocation->containers) {
    given += (given.empty() ? "" : " ") + container.name + "=";
    for (const auto& share : container.shares) given += (given.ends_with('=') ? "" : "+") + share.uuid;
  }
  return given;
}

std::string Refusal(std::string_view text, const Containers& containers) {
  const auto allocation = Decode(text, containers);
  INFO(text);
  REQUIRE_FALSE(allocation.has_value());
  CHECK(allocation.error().code == Code::kInvalid);
  return allocation.error().message;
}

TEST_CASE("HAMi's text is written with one entry a container") {
  const Allocation allocation{.node = "n1",
                              .containers = {{"a", Kind::kInit, -1, "", {}},
                                             {"b", Kind::kApp, -1, "nvidia", {{"GPU-a", 3000, 30}, {"GPU-b", 3000, 30}}},
                                             {"c", Kind::kApp, -1, "", {}}}};
  CHECK(EncodeHamiDevices(allocation, "NVIDIA") == ";GPU-a,NVIDIA,3000,30:GPU-b,NVIDIA,3000,30:;;");
}

TEST_CASE("HAMi's text fills shares, vendor and node") {
  const auto allocation = Decode("GPU-a,NVIDIA,3000,30:GPU-b,NVIDIA,2000,20:;", {{"main", Kind::kApp, kWants}});
  const Allocation expected{.node = "n1", .containers = {{"main", Kind::kApp, -1, "nvidia", {{"GPU-a", 3000, 30}, {"GPU-b", 2000, 20}}}}};
  REQUIRE(allocation.has_value());
  CHECK(*allocation == expected);
}

TEST_CASE("With an entry for every container, position decides") {
  CHECK(Given("GPU-a,NVIDIA,1,1:;;", {{"a", Kind::kApp, kWants}, {"b", Kind::kApp, kNone}}) == "a=GPU-a b=");
  CHECK(Given(";GPU-a,NVIDIA,1,1:;", {{"a", Kind::kInit, kNone}, {"b", Kind::kApp, kWants}}) == "a= b=GPU-a");
  CHECK(Given(";GPU-a,NVIDIA,1,1:;;", {{"a", Kind::kInit, kWants}, {"b", Kind::kApp, kWants}}) == "a= b=GPU-a");
}

TEST_CASE("Entries that HAMi left out are recognised by who asks for devices") {
  const auto gpu_a = "GPU-a,NVIDIA,1,1:;";
  CHECK(Given(gpu_a, {{"init", Kind::kInit, kNone}, {"app", Kind::kApp, kWants}}) == "init= app=GPU-a");
  CHECK(Given(gpu_a, {{"app", Kind::kApp, kWants}, {"last", Kind::kApp, kNone}}) == "app=GPU-a last=");
  const Containers spread_out{
      {"i", Kind::kInit, kWants}, {"s", Kind::kSidecar, kNone}, {"x", Kind::kApp, kWants}, {"y", Kind::kApp, kWants}};
  CHECK(Given("A,N,1,1:;B,N,1,1:;C,N,1,1:;", spread_out) == "i=A s= x=B y=C");
  CHECK(Given("A,N,1,1:;;B,N,1,1:;C,N,1,1:;", spread_out) == "i=A s= x=B y=C");
}

TEST_CASE("Among app containers it does not matter which went without") {
  CHECK(Given("A,N,1,1:;", {{"x", Kind::kApp, kWants}, {"y", Kind::kApp, kWants}}) == "x=A y=");
}

TEST_CASE("Trailing empty entries and old bracketed MIG names are tolerated") {
  CHECK(Given("A,N,1,1:;;;;;", {{"x", Kind::kApp, kWants}}) == "x=A");
  CHECK(Given("", {{"x", Kind::kApp, kNone}}) == "x=");
  CHECK(Given("GPU-a[7-9],NVIDIA,1,1:;", {{"x", Kind::kApp, kWants}}) == "x=GPU-a[7-9]");
  CHECK(Given("A,N,1,1,extra:;", {{"x", Kind::kApp, kWants}}) == "x=A");
}

TEST_CASE("A card that one container holds twice is one share with the sum") {
  const auto allocation = Decode("A,N,100,10:A,N,200,20:;", {{"x", Kind::kApp, kWants}});
  REQUIRE(allocation.has_value());
  CHECK(allocation->containers[0].shares == std::vector<Share>{{"A", 300, 30}});
}

TEST_CASE("A refusal of HAMi's text says what is wrong") {
  const Containers one{{"x", Kind::kApp, kWants}};
  CHECK(Refusal("A,N,100:;", one) == "device \"A,N,100\" is not UUID,type,memory,cores");
  CHECK(Refusal("nonsense", one) == "device \"nonsense\" is not UUID,type,memory,cores");
  CHECK(Refusal(",N,1,1:;", one) == "device \",N,1,1\" is not UUID,type,memory,cores");
  CHECK(Refusal("A,N,x,1:;", one) == "device \"A,N,x,1\": \"x\" is not a whole number from 0 to 2147483647");
  CHECK(Refusal("A,N,-1,1:;", one) == "device \"A,N,-1,1\": \"-1\" is not a whole number from 0 to 2147483647");
  CHECK(Refusal("A,N,2147483648,1:;", one) == "device \"A,N,2147483648,1\": \"2147483648\" is not a whole number from 0 to 2147483647");
  CHECK(Refusal("A,N,1,1:;B,N,1,1:;", one) == "2 containers hold devices, but the pod has 1 that ask for them");
  CHECK(Refusal("A,N,1,1:;", {{"x", Kind::kApp, kNone}}) == "1 containers hold devices, but the pod has 0 that ask for them");
  CHECK(Refusal("A,N,1,1:;", {{"i", Kind::kInit, kWants}, {"x", Kind::kApp, kWants}}) ==
        "1 containers hold devices, 2 ask for them, and nothing says which");
}

TEST_CASE("What we write for HAMi reads back as itself") {
  std::mt19937 random(6);
  for (int round = 0; round < 1'000; ++round) {
    Allocation allocation{.node = "n1", .containers = {}};
    Containers containers;
    for (auto c = random() % 5; c > 0; --c) {
      ContainerAllocation container;
      container.name = fmt::format("c{}", c);
      container.kind = static_cast<Kind>(random() % 3);
      for (auto s = random() % 3; s > 0; --s)
        container.shares.push_back({fmt::format("GPU-{}", s), static_cast<std::int32_t>(random() >> 1), 7});
      if (!container.shares.empty()) container.vendor = "nvidia";
      containers.push_back({container.name, container.kind, !container.shares.empty()});
      allocation.containers.push_back(std::move(container));
    }
    const auto back = Decode(EncodeHamiDevices(allocation, "NVIDIA"), containers);
    REQUIRE(back.has_value());
    REQUIRE(*back == allocation);
  }
}

TEST_CASE("Damaged HAMi text is an error or an allocation, never a crash") {
  test::ForEachDamaged("GPU-a,NVIDIA,3000,30:GPU-b,NVIDIA,3000,30:;;GPU-c,NVIDIA,1,1:;", 5'000, [](const std::string& damaged) {
    const auto allocation = Decode(damaged, {{"a", Kind::kInit, kWants}, {"b", Kind::kSidecar, kNone}, {"c", Kind::kApp, kWants}});
    if (allocation) REQUIRE(allocation->containers.size() == 3);
  });
}

}  // namespace
}  // namespace partage::device
