// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "scheduler/framework/policy.h"

namespace partage::scheduler {
namespace {

TEST_CASE("A policy that overrides nothing has no opinion") {
  const Policy policy;
  const DeviceView device;
  CHECK(policy.RankNode({}, {}, {}) == 0);
  CHECK(policy.RankDevice(device, {}, {}) == 0);
  CHECK(policy.Admits(device));
  CHECK(policy.Choose(std::span(&device, 1), 1).empty());
}

TEST_CASE("Policies are found by name and know what they are for") {
  for (const auto* name : {"binpack", "spread"}) CHECK(PolicyRegistry::Find(name)->for_nodes);
  for (const auto* name : {"binpack", "spread", "numa", "topology-aware", "mutex"}) CHECK(PolicyRegistry::Find(name)->for_devices);
  CHECK_FALSE(PolicyRegistry::Find("numa")->for_nodes);
  CHECK(PolicyRegistry::Find("random") == nullptr);
}

TEST_CASE("Fullness adds the used part of slots, cores and memory with the demand") {
  const Amount used{.slots = 1, .mib = 2'000, .cores = 10};
  const Amount total{.slots = 10, .mib = 10'000, .cores = 100};
  CHECK(Fullness(used, total, {.slots = 1, .mib = 1'000, .cores = 20}, {}) == Approx(0.2 + 0.3 + 0.3));
  CHECK(Fullness({}, total, {}, {}) == 0);
}

TEST_CASE("Fullness weighs each part") {
  const Amount used{.slots = 1, .mib = 2'000, .cores = 30};
  const Amount total{.slots = 10, .mib = 10'000, .cores = 100};
  CHECK(Fullness(used, total, {}, {.slot = 0, .core = 2, .memory = 1}) == Approx(0.6 + 0.2));
}

TEST_CASE("A part without capacity counts nothing in fullness") {
  CHECK(Fullness({.slots = 5, .mib = 0, .cores = 50}, {.slots = 0, .mib = 0, .cores = 100}, {.slots = 1, .mib = 7, .cores = 0}, {}) ==
        Approx(0.5));
}

}  // namespace
}  // namespace partage::scheduler
