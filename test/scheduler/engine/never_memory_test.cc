// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/never_memory.h"

#include <catch2/catch.hpp>

namespace partage::scheduler {
namespace {

device::PodRequest Asking(std::int32_t mib) {
  device::PodRequest request;
  request.containers.push_back({.name = "main", .devices = {{.vendor = "nvidia", .mib = mib}}});
  return request;
}

/// Counts how often the cluster is looked through.
struct Rig {
  NeverMemory memory;
  int looks = 0;

  NeverMemory::Answer Ask(const std::shared_ptr<const Snapshot>& snapshot, std::int32_t mib) {
    return memory.Recall(snapshot, Asking(mib), [&] { return ++looks, std::to_string(mib); });
  }
};

TEST_CASE("The same request is looked for once a snapshot") {
  Rig rig;
  const auto first = std::make_shared<const Snapshot>(), second = std::make_shared<const Snapshot>();
  for (int i = 0; i < 3; ++i) {
    CHECK(rig.Ask(first, 1) == "1");
    CHECK(rig.Ask(first, 2) == "2");
  }
  CHECK(rig.looks == 2);
  CHECK(rig.Ask(second, 1) == "1");
  CHECK(rig.Ask(first, 1) == "1");
  CHECK(rig.looks == 4);
}

TEST_CASE("Only so many requests are remembered, and each is answered as its own") {
  Rig rig;
  const auto snapshot = std::make_shared<const Snapshot>();
  for (int round = 0; round < 2; ++round) {
    for (std::int32_t mib = 0; mib < 100; ++mib) CHECK(rig.Ask(snapshot, mib) == std::to_string(mib));
  }
  CHECK(rig.looks == 200);
  CHECK(rig.Ask(snapshot, 99) == "99");
  CHECK(rig.looks == 200);
}

}  // namespace
}  // namespace partage::scheduler
