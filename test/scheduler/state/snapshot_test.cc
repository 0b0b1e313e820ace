// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/snapshot.h"

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "scheduler/state/pod_uid.h"

namespace partage::scheduler {
namespace {

TEST_CASE("The index finds every name, ranks by name, and knows what is absent") {
  std::vector<std::pair<std::string, NodeId>> nodes;
  for (NodeId id = 0; id < 5000; ++id) nodes.emplace_back(fmt::format("gpu-node-{}.cluster.example", (id * 7919) % 5000), id);
  const NodeIndex index(nodes, 5003);
  for (const auto& [name, id] : nodes) {
    REQUIRE(index.Find(name) == id);
    REQUIRE(index.Name(id) == name);
  }
  CHECK(index.Find("gpu-node-5000.cluster.example") == kNoNode);
  CHECK(index.Find("") == kNoNode);
  CHECK(index.Name(5002).empty());
  for (std::size_t i = 1; i < index.ordered().size(); ++i) {
    REQUIRE(index.Name(index.ordered()[i - 1]) < index.Name(index.ordered()[i]));
    REQUIRE(index.Rank(index.ordered()[i]) == i);
  }
}

TEST_CASE("Names of every length are found together as they are one by one") {
  std::vector<std::string> names;
  for (std::size_t length = 1; length < 70; ++length) {
    for (const char first : {'a', 'b'}) names.push_back(first + std::string(length - 1, 'x'));
  }
  std::vector<std::pair<std::string, NodeId>> nodes;
  for (std::size_t i = 0; i < names.size(); i += 2) nodes.emplace_back(names[i], static_cast<NodeId>(i));  // those with a; b is unknown
  const NodeIndex index(nodes, names.size());
  std::vector<std::string_view> asked(names.begin(), names.end());
  asked.emplace_back("");
  const auto found = index.FindAll(asked);
  REQUIRE(found.size() == asked.size());
  for (std::size_t i = 0; i < asked.size(); ++i) {
    CHECK(found[i] == index.Find(asked[i]));
    CHECK(found[i] == (asked[i].starts_with('a') ? i : kNoNode));
  }
}

TEST_CASE("So many names that some share a hash are told apart all the same") {
  std::vector<std::pair<std::string, NodeId>> nodes;
  for (NodeId id = 0; id < 200000; ++id) nodes.emplace_back(fmt::format("gpu-node-{:06}.example", id), id);
  const NodeIndex index(nodes, nodes.size());
  std::vector<std::string_view> asked;
  for (NodeId id = 0; id < nodes.size(); ++id) asked.push_back(index.Name(id));
  const auto found = index.FindAll(asked);
  for (NodeId id = 0; id < nodes.size(); ++id) REQUIRE(found[id] == id);
}

TEST_CASE("An empty index finds nothing") {
  const NodeIndex index({}, 0);
  CHECK(index.Find("n") == kNoNode);
  CHECK(index.FindAll(std::vector<std::string_view>{"n"}) == std::vector{kNoNode});
  CHECK(index.size() == 0);
}

TEST_CASE("A canonical UID survives the round trip, any other text gets a digest of its own") {
  const std::string canonical = "0f2d3c4b-5a69-7887-96a5-b4c3d2e1f001";
  CHECK(PodUid(canonical).ToString() == canonical);
  CHECK(PodUid("uid-1") == PodUid("uid-1"));
  CHECK_FALSE(PodUid("uid-1") == PodUid("uid-2"));
  CHECK_FALSE(PodUid("0F2D3C4B-5A69-7887-96A5-B4C3D2E1F001") == PodUid(canonical));
}

}  // namespace
}  // namespace partage::scheduler
