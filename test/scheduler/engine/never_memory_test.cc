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

/// A cluster of one block; made from another one, it has the same nodes.
Snapshot SomeNodes() {
  auto block = std::make_shared<Block>();
  block->infos = std::make_shared<std::vector<std::shared_ptr<const NodeInfo>>>();
  Snapshot snapshot;
  snapshot.blocks.push_back(std::move(block));
  return snapshot;
}
Snapshot OtherPodsOn(const Snapshot& snapshot) {
  Snapshot changed;
  changed.blocks.push_back(std::make_shared<Block>(snapshot.block(0)));
  return changed;
}

/// Counts how often the cluster is looked through.
struct Rig {
  NeverMemory memory;
  int looks = 0;

  NeverMemory::Answer Ask(const Snapshot& snapshot, std::int32_t mib) {
    return memory.Recall(snapshot, Asking(mib), [&] { return ++looks, std::to_string(mib); });
  }
};

TEST_CASE("The same request is looked for once, until a node changes") {
  Rig rig;
  const auto first = SomeNodes(), second = SomeNodes();
  for (int i = 0; i < 3; ++i) {
    CHECK(rig.Ask(first, 1) == "1");
    CHECK(rig.Ask(first, 2) == "2");
  }
  CHECK(rig.Ask(OtherPodsOn(first), 1) == "1");
  CHECK(rig.looks == 2);
  CHECK(rig.Ask(second, 1) == "1");
  CHECK(rig.Ask(first, 1) == "1");
  CHECK(rig.looks == 4);
}

TEST_CASE("Only so many requests are remembered, and each is answered as its own") {
  Rig rig;
  const auto snapshot = SomeNodes();
  for (int round = 0; round < 2; ++round) {
    for (std::int32_t mib = 0; mib < 100; ++mib) CHECK(rig.Ask(snapshot, mib) == std::to_string(mib));
  }
  CHECK(rig.looks == 200);
  CHECK(rig.Ask(snapshot, 99) == "99");
  CHECK(rig.looks == 200);
}

}  // namespace
}  // namespace partage::scheduler
