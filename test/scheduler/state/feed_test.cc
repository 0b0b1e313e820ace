// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/feed.h"

#include <catch2/catch.hpp>

#include "device/allocation_codec.h"
#include "device/inventory_codec.h"
#include "test/support/damage.h"

namespace partage::scheduler {
namespace {

using device::UuidUsage;
using vendors::Catalog;

constexpr auto kOwn =
    R"({"version":1,"node":"n1","containers":[{"name":"main","kind":"app","vendor":"nvidia","shares":[{"uuid":"GPU-a","memoryMiB":3000,"cores":30}]}]})";
constexpr auto kHamiKey = "hami.io/vgpu-devices-allocated";
constexpr auto kInventory = R"({"version":1,"devices":[{"uuid":"GPU-a","model":"L4","memoryMiB":23034}]})";

k8s::Container Container(std::string name, k8s::StringMap limits = {}, bool sidecar = false) {
  return {.name = std::move(name), .restart_always = sidecar, .limits = std::move(limits), .requests = {}};
}

/// A pod on n1 whose one container asks for a GPU.
k8s::Pod BoundPod(k8s::StringMap annotations = {}) {
  k8s::Pod pod;
  pod.ns = "ml";
  pod.name = "train";
  pod.uid = "uid-1";
  pod.resource_version = 7;
  pod.node_name = "n1";
  pod.phase = "Running";
  pod.annotations = std::move(annotations);
  pod.containers = {Container("main", {{"nvidia.com/gpu", "1"}})};
  return pod;
}

k8s::Node NodeWith(k8s::StringMap annotations) {
  k8s::Node node;
  node.name = "n1";
  node.uid = "uid-n";
  node.resource_version = 5;
  node.annotations = std::move(annotations);
  return node;
}

const Catalog kVendors = Catalog::Embedded();
PodObservation See(const k8s::Pod& pod) { return Observe(pod, kVendors); }
NodeObservation See(const k8s::Node& node) { return Observe(node, kVendors); }

const UuidUsage kShareOfA{"GPU-a", {.slots = 1, .mib = 3000, .cores = 30}};

TEST_CASE("A pod's own allocation is its usage") {
  const auto seen = See(BoundPod({{"partage.dev/allocation", kOwn}}));
  CHECK((seen.pod.ns == "ml" && seen.pod.name == "train" && seen.pod.uid == "uid-1"));
  CHECK((seen.resource_version == 7 && seen.node == "n1" && !seen.finished && seen.allocation_error.empty()));
  CHECK(seen.usage == std::vector{kShareOfA});
}

TEST_CASE("HAMi's allocation counts when it is for the node the pod runs on") {
  const auto seen = See(BoundPod({{"hami.io/vgpu-node", "n1"}, {kHamiKey, "GPU-a,NVIDIA,3000,30:;"}}));
  CHECK(seen.allocation_error.empty());
  CHECK(seen.usage == std::vector{kShareOfA});
}

TEST_CASE("Our allocation wins over HAMi's") {
  const auto seen = See(BoundPod({{"partage.dev/allocation", kOwn}, {"hami.io/vgpu-node", "n2"}, {kHamiKey, "garbage"}}));
  CHECK(seen.usage == std::vector{kShareOfA});
}

TEST_CASE("HAMi's entry after a container without devices goes to the one that asks") {
  auto pod = BoundPod({{"hami.io/vgpu-node", "n1"}, {kHamiKey, "GPU-a,NVIDIA,3000,30:;GPU-a,NVIDIA,500,0:;"}});
  pod.init_containers = {Container("setup"), Container("proxy", {{"nvidia.com/gpumem", "3000"}}, true)};
  const auto seen = See(pod);
  CHECK(seen.allocation_error.empty());
  CHECK(seen.usage == std::vector<UuidUsage>{{"GPU-a", {.slots = 2, .mib = 3500, .cores = 30}}});
}

TEST_CASE("A pod that is not bound or has finished uses nothing, whatever it carries") {
  auto pod = BoundPod({{"partage.dev/allocation", "garbage"}});
  pod.node_name.clear();
  CHECK((See(pod).usage.empty() && See(pod).allocation_error.empty()));
  pod.node_name = "n1";
  pod.phase = "Failed";
  CHECK((See(pod).usage.empty() && See(pod).allocation_error.empty() && See(pod).finished));
}

TEST_CASE("A pod without devices is nobody's concern") {
  auto pod = BoundPod();
  pod.containers = {Container("web"), Container("zero", {{"nvidia.com/gpu", "0"}})};
  CHECK((See(pod).usage.empty() && See(pod).allocation_error.empty()));
}

TEST_CASE("A running pod that asks for devices but carries no allocation is an error") {
  CHECK(See(BoundPod()).allocation_error ==
        "asks for nvidia.com/gpu and runs on n1, but carries no allocation (partage.dev/allocation or hami.io/vgpu-devices-allocated): "
        "was it bound by another scheduler?");
}

TEST_CASE("An allocation that gives nothing to a pod that asks is an error") {
  CHECK_FALSE(See(BoundPod({{"partage.dev/allocation", R"({"version":1,"node":"n1","containers":[]})"}})).allocation_error.empty());
  CHECK_FALSE(See(BoundPod({{"hami.io/vgpu-node", "n1"}, {kHamiKey, ";"}})).allocation_error.empty());
}

TEST_CASE("An allocation for another node is an error") {
  const auto own = See(BoundPod({{"partage.dev/allocation", R"({"version":1,"node":"n2","containers":[]})"}}));
  CHECK(own.allocation_error == "partage.dev/allocation names node n2, but the pod runs on n1");
  const auto hami = See(BoundPod({{"hami.io/vgpu-node", "n2"}, {kHamiKey, "GPU-a,NVIDIA,1,1:;"}}));
  CHECK(hami.allocation_error == "hami.io/vgpu-node names node \"n2\", but the pod runs on n1");
  CHECK(hami.usage.empty());
}

TEST_CASE("An unreadable allocation is an error that names the annotation") {
  CHECK(See(BoundPod({{"partage.dev/allocation", "{"}})).allocation_error == "partage.dev/allocation: \"{\" is not JSON");
  CHECK(See(BoundPod({{"hami.io/vgpu-node", "n1"}, {kHamiKey, "GPU-a,NVIDIA,x,1:;"}})).allocation_error ==
        "hami.io/vgpu-devices-allocated: device \"GPU-a,NVIDIA,x,1\": \"x\" is not a whole number from 0 to 2147483647");
}

TEST_CASE("Each vendor a pod asks must have given something") {
  auto documents = vendors::EmbeddedDocuments();
  documents.push_back("name: acme\nword: ACME\nresources: {count: acme.io/gpu}\nhami: {allocated: hami.io/acme-allocated}");
  const auto catalog = *Catalog::FromYaml(documents);
  auto pod = BoundPod({{"hami.io/vgpu-node", "n1"}, {kHamiKey, "GPU-a,NVIDIA,3000,30:;"}});
  pod.containers[0].limits["acme.io/gpu"] = "1";
  CHECK(Observe(pod, catalog).allocation_error.find("asks for acme.io/gpu") == 0);
  pod.annotations["hami.io/acme-allocated"] = "ACME-0,ACME,10,5:;";
  const auto seen = Observe(pod, catalog);
  CHECK(seen.allocation_error.empty());
  CHECK(seen.usage == std::vector<UuidUsage>{{"ACME-0", {.slots = 1, .mib = 10, .cores = 5}}, kShareOfA});
}

TEST_CASE("A node's own inventory wins over HAMi's") {
  const auto seen = See(NodeWith({{"partage.dev/inventory", kInventory}, {"hami.io/node-nvidia-register", "garbage"}}));
  CHECK((seen.name == "n1" && seen.uid == "uid-n" && seen.resource_version == 5 && seen.inventory_error.empty()));
  CHECK(seen.inventory.dialect == device::NodeInventory::Dialect::kPartage);
  CHECK(seen.inventory.Find("GPU-a") == 0);
}

TEST_CASE("HAMi's register, scores and cordon list make the inventory of a HAMi node") {
  const auto seen =
      See(NodeWith({{"hami.io/node-nvidia-register", R"([{"id":"GPU-a","count":10,"devmem":100,"health":true},{"id":"GPU-b","index":1}])"},
                    {"hami.io/node-nvidia-score", R"([{"uuid":"GPU-a","score":{"GPU-b":60}}])"},
                    {"hami.io/device-cordon", "GPU-b"}}));
  CHECK(seen.inventory_error.empty());
  CHECK(seen.inventory.dialect == device::NodeInventory::Dialect::kHami);
  REQUIRE(seen.inventory.devices.size() == 2);
  CHECK(seen.inventory.devices[0].links == std::vector<std::int32_t>{0, 60});
  CHECK(seen.inventory.devices[1].cordoned);
}

TEST_CASE("A HAMi node whose kubelet counts no devices any more has no healthy ones, without a count it is believed") {
  auto node = NodeWith({{"hami.io/node-nvidia-register", R"([{"id":"GPU-a","count":10,"devmem":100,"health":true}])"}});
  CHECK(See(node).inventory.devices.at(0).healthy);
  node.allocatable["nvidia.com/gpu"] = "10";
  CHECK(See(node).inventory.devices.at(0).healthy);
  node.allocatable["nvidia.com/gpu"] = "0";
  CHECK_FALSE(See(node).inventory.devices.at(0).healthy);
}

TEST_CASE("Several vendors of a HAMi node make one inventory, unless they claim one UUID") {
  auto documents = vendors::EmbeddedDocuments();
  documents.push_back("name: acme\nword: ACME\nresources: {count: acme.io/gpu}\nhami: {register: hami.io/acme-register}");
  const auto catalog = *Catalog::FromYaml(documents);
  auto node = NodeWith({{"hami.io/node-nvidia-register", R"([{"id":"GPU-a"}])"}, {"hami.io/acme-register", "ACME-0,1,1,1,X,0,true:"}});
  const auto seen = Observe(node, catalog);
  REQUIRE(seen.inventory.devices.size() == 2);
  CHECK(seen.inventory.devices[0].vendor == "acme");
  node.annotations["hami.io/acme-register"] = "GPU-a,1,1,1,X,0,true:";
  CHECK_FALSE(Observe(node, catalog).inventory_error.empty());
}

TEST_CASE("A node without annotations publishes nothing, and that is no error") {
  const auto seen = See(NodeWith({}));
  CHECK((seen.inventory.devices.empty() && seen.inventory_error.empty()));
}

TEST_CASE("An unreadable inventory is an error that names the annotation") {
  CHECK(See(NodeWith({{"partage.dev/inventory", "[]"}})).inventory_error ==
        "partage.dev/inventory: inventory must be an object, not a list");
  CHECK(See(NodeWith({{"hami.io/node-nvidia-register", "x"}})).inventory_error ==
        "hami.io/node-nvidia-register: register \"x\" is neither a JSON list nor devices ended by ':'");
}

TEST_CASE("The request parser sees init containers first, with their kinds") {
  auto pod = BoundPod({{"a", "b"}});
  pod.init_containers = {Container("setup"), Container("proxy", {}, true)};
  const auto input = ToParserInput(pod);
  REQUIRE(input.containers.size() == 3);
  CHECK((input.containers[0].name == "setup" && input.containers[0].kind == device::ContainerKind::kInit));
  CHECK((input.containers[1].name == "proxy" && input.containers[1].kind == device::ContainerKind::kSidecar));
  CHECK((input.containers[2].name == "main" && input.containers[2].kind == device::ContainerKind::kApp));
  CHECK(input.containers[2].limits.at("nvidia.com/gpu") == "1");
  CHECK(input.annotations.at("a") == "b");
}

TEST_CASE("Damage to an allocation never makes a device look free: it uses something, or it is an error") {
  test::ForEachDamaged(kOwn, 2'000, [](const std::string& damaged) {
    const auto seen = See(BoundPod({{"partage.dev/allocation", damaged}}));
    REQUIRE(seen.usage.empty() != seen.allocation_error.empty());
  });
}

}  // namespace
}  // namespace partage::scheduler
