// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_spec.h"

#include <catch2/catch.hpp>

#include "base/text_file.h"
#include "device/allocation_codec.h"
#include "device/inventory_codec.h"

namespace partage::sim {
namespace {

SimSpec Parse(std::string_view yaml) {
  auto spec = ParseSimSpec(yaml, "c.yaml");
  INFO((spec ? "" : spec.error().message));
  REQUIRE(spec.has_value());
  return *std::move(spec);
}

std::string Complaint(std::string_view yaml) {
  const auto spec = ParseSimSpec(yaml, "c.yaml");
  REQUIRE_FALSE(spec.has_value());
  CHECK(spec.error().code == Code::kInvalid);
  return spec.error().message;
}

device::NodeInventory InventoryOf(const k8s::Node& node) {
  return device::DecodeInventory(node.annotations.at(std::string(device::kInventoryAnnotation))).value();
}

TEST_CASE("A pattern with a count makes that many nodes") {
  const auto spec = Parse("nodes: [{name: 'a-#', count: 2}, {name: 'n###-x', count: 1}, {name: plain}]");
  std::vector<std::string> names;
  for (const auto& node : spec.nodes) names.push_back(node.name);
  CHECK(names == std::vector<std::string>{"a-1", "a-2", "n001-x", "plain"});
  CHECK(spec.nodes[0].annotations.empty());
}

TEST_CASE("Devices are published as an agent would publish them") {
  const auto spec = Parse(R"(
nodes:
  - name: n
    devices:
      - {model: Big, count: 4, memoryMiB: 1000, cores: 100, slots: 7, numa: [0, 1], nvlinks: 2}
      - {model: Odd, memoryMiB: 500, mode: exclusive, healthy: false, cordoned: true, numa: 1}
)");
  const auto devices = InventoryOf(spec.nodes.at(0)).devices;
  REQUIRE(devices.size() == 5);
  CHECK(devices[0].uuid == "GPU-n-0");
  CHECK(devices[3].index == 3);
  CHECK(devices[1].numa == 0);
  CHECK(devices[2].numa == 1);
  CHECK(devices[0].mib == 1000);
  CHECK(devices[0].slots == 7);
  CHECK(devices[4].mode == device::Mode::kExclusive);
  CHECK_FALSE(devices[4].healthy);
  CHECK(devices[4].cordoned);
  CHECK(devices[4].slots == 10);
}

TEST_CASE("Links count NUMA nodes and NVLinks") {
  const auto spec = Parse(R"(
nodes:
  - name: n
    devices:
      - {model: Big, count: 4, memoryMiB: 1000, numa: [0, 1], nvlinks: 2}
      - {model: Odd, memoryMiB: 500, numa: 1}
)");
  const auto devices = InventoryOf(spec.nodes.at(0)).devices;
  CHECK(devices[0].links == std::vector<std::int32_t>{0, 230, 210, 210, 10});
  CHECK(devices[3].links == std::vector<std::int32_t>{210, 210, 230, 0, 30});
}

TEST_CASE("A pod of the description is bound with its allocation") {
  const auto spec = Parse(R"(
nodes: [{name: n, devices: [{model: Big, count: 2, memoryMiB: 1000}]}]
pods: [{pod: team/a, node: n, shares: [{device: 1, memoryMiB: 300, cores: 20}]}]
)");
  const auto& pod = spec.pods.at(0);
  CHECK(pod.FullName() == "team/a");
  CHECK(pod.node_name == "n");
  const auto allocation = device::DecodeAllocation(pod.annotations.at(std::string(device::kAllocationAnnotation))).value();
  CHECK(allocation.containers.at(0).vendor == "nvidia");
  CHECK(allocation.containers.at(0).shares.at(0) == device::Share{"GPU-n-1", 300, 20});
}

TEST_CASE("A node's own annotations are kept as they are") {
  const auto spec = Parse("nodes: [{name: n, annotations: {'hami.io/node-nvidia-register': '[]'}}]");
  CHECK(spec.nodes.at(0).annotations.at("hami.io/node-nvidia-register") == "[]");
}

TEST_CASE("What is wrong is said with its line and member") {
  CHECK(Complaint("nodes:\n  - nam: x\n") == "c.yaml:2: \"nam\" is not a member; there are name, count, annotations, devices");
  CHECK(Complaint("nodes: {}\n") == "c.yaml:1: nodes: is not a list");
  CHECK(Complaint("- a\n") == "c.yaml:1: a map with nodes, pods is expected here");
  CHECK(Complaint("nodes: [{name: x, count: 0}]") == "c.yaml:1: count: 0 is out of range; use 1 to 100000");
  CHECK(Complaint("nodes: [{name: x, count: 2}]") == "c.yaml:1: name: there are two nodes named \"x\"; with a count, a name needs a #");
  CHECK(Complaint("nodes: [{count: 2}]") == "c.yaml:1: name: is missing; a word belongs here");
  CHECK(Complaint("a: [\n").find("c.yaml:") == 0);
}

TEST_CASE("A wrong device is refused") {
  const auto device = [](const std::string& members) { return Complaint("nodes: [{name: x, devices: [{model: M, " + members + "}]}]"); };
  CHECK(device("count: 1") == "c.yaml:1: memoryMiB: is missing; a whole number belongs here");
  CHECK(device("memoryMiB: 1.5") == "c.yaml:1: memoryMiB: is not a whole number");
  CHECK(device("memoryMiB: 1, mode: magic") == "c.yaml:1: mode: \"magic\" is none of shared, exclusive, mig, mps");
  CHECK(device("memoryMiB: 1, healthy: maybe") == "c.yaml:1: healthy: \"maybe\" is neither true nor false");
  CHECK(device("memoryMiB: 1, numa: [a]") == "c.yaml:1: numa: is not a whole number");
  CHECK(device("memoryMiB: 1, count: 65") == "c.yaml:1: count: 65 is out of range; use 1 to 64");
}

TEST_CASE("A pod on an unknown node or device is refused") {
  const std::string nodes = "nodes: [{name: n, devices: [{model: M, memoryMiB: 1}]}]\n";
  CHECK(Complaint(nodes + "pods: [{pod: a/b, node: m}]") == "c.yaml:2: node: there is no node \"m\"");
  CHECK(Complaint(nodes + "pods: [{pod: ab, node: n}]") == "c.yaml:2: pod: is not of the form namespace/name");
  CHECK(Complaint(nodes + "pods: [{pod: a/b, node: n, shares: [{device: 1, memoryMiB: 1}]}]") ==
        "c.yaml:2: device: 1 is out of range; use 0 to 0");
  CHECK(Complaint(nodes + "pods: [{pod: a/b, node: n}, {pod: a/b, node: n}]") == "c.yaml:2: pod: there are two pods named \"a/b\"");
}

TEST_CASE("The demo's cluster can be read") {
  const auto text = ReadTextFile(PARTAGE_SOURCE_DIR "/docs/examples/demo-cluster.yaml");
  REQUIRE(text.has_value());
  CHECK(Parse(*text).nodes.size() >= 4);
}

}  // namespace
}  // namespace partage::sim
