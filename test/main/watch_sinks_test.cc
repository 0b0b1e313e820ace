// SPDX-License-Identifier: Apache-2.0
#include "main/watch_sinks.h"

#include <catch2/catch.hpp>

#include "device/allocation_codec.h"
#include "device/inventory_codec.h"
#include "test/support/manual_clock.h"

namespace partage::app {
namespace {

k8s::Node NodeWithOneGpu(std::uint64_t version) {
  device::NodeInventory inventory;
  device::Device gpu;
  gpu.vendor = "nvidia";
  gpu.uuid = "GPU-a";
  gpu.model = "NVIDIA L4";
  gpu.slots = 10;
  gpu.mib = 1000;
  gpu.cores = 100;
  inventory.devices.push_back(gpu);
  k8s::Node node;
  node.name = "n1";
  node.uid = "node-uid";
  node.resource_version = version;
  node.annotations[std::string(device::kInventoryAnnotation)] = device::EncodeInventory(inventory);
  return node;
}

k8s::Pod BoundPod(const std::string& name, std::int32_t mib, std::uint64_t version) {
  device::ContainerAllocation container;
  container.name = "main";
  container.vendor = "nvidia";
  container.shares.push_back({"GPU-a", mib, 10});
  k8s::Pod pod;
  pod.ns = "team";
  pod.name = name;
  pod.uid = "uid-" + name;
  pod.resource_version = version;
  pod.node_name = "n1";
  pod.phase = "Running";
  pod.annotations[std::string(device::kAllocationAnnotation)] = device::EncodeAllocation({"n1", {container}});
  return pod;
}

/// A ledger fed by both sinks.
struct Fed {
  test::ManualClock clock;
  vendors::Catalog vendors = vendors::Catalog::Embedded();
  scheduler::Cluster cluster{clock};
  scheduler::Probe probe;
  std::unique_ptr<scheduler::Engine> engine = *scheduler::Engine::Make(cluster, clock, {}, probe);
  int node_reads = 0, pod_reads = 0;
  NodeSink nodes{cluster, vendors, [this] { ++node_reads; }};
  PodSink pods{*engine, vendors, [this] { ++pod_reads; }};
  QuotaSink quotas{cluster, vendors};

  std::int64_t FreeMib() const {
    const auto snapshot = cluster.snapshot();
    return snapshot->row(snapshot->index->Find("n1")).max_free_mib;
  }
  void ReadNode(std::uint64_t version) {
    nodes.ReplaceBegin();
    nodes.Upsert(NodeWithOneGpu(version));
    nodes.ReplaceEnd();
  }
  void Refuse(const std::string& name) {
    device::PodRequest request;
    request.containers.push_back({.name = "main", .devices = {{.vendor = "nvidia", .mib = 1001}}});
    const std::vector<std::string_view> candidates{"n1"};
    (void)engine->Filter({.pod = {"team", name, "uid-" + name}, .request = std::make_shared<const device::PodRequest>(request)},
                         candidates);
  }
  std::vector<std::string> WaitingNames() const {
    std::vector<std::string> names;
    for (const auto& pod : engine->waiting()) names.push_back(pod.pod.name);
    return names;
  }
};

k8s::Pod WaitingPod(const std::string& name) {
  k8s::Pod pod;
  pod.ns = "team";
  pod.name = name;
  pod.uid = "uid-" + name;
  return pod;
}

TEST_CASE("A full read of nodes and pods is the ledger's state, and says so once") {
  Fed fed;
  fed.ReadNode(1);
  CHECK(fed.node_reads == 1);
  fed.pods.ReplaceBegin();
  fed.pods.Upsert(BoundPod("a", 300, 2));
  CHECK(fed.pod_reads == 0);
  fed.pods.ReplaceEnd();
  CHECK(fed.pod_reads == 1);
  CHECK(fed.FreeMib() == 700);
  CHECK(fed.cluster.CheckInvariants().has_value());
}

TEST_CASE("Pods come and go with watch events, visible after a flush") {
  Fed fed;
  fed.ReadNode(1);
  fed.pods.Upsert(BoundPod("a", 300, 2));
  fed.pods.Upsert(BoundPod("b", 200, 3));
  fed.pods.Flush();
  CHECK(fed.FreeMib() == 500);
  fed.pods.Remove(BoundPod("a", 300, 4));
  fed.pods.Flush();
  CHECK(fed.FreeMib() == 800);
}

TEST_CASE("A pod missing from a later full read gives its share back") {
  Fed fed;
  fed.ReadNode(1);
  fed.pods.Upsert(BoundPod("a", 300, 2));
  fed.pods.Flush();
  fed.pods.ReplaceBegin();
  fed.pods.ReplaceEnd();
  CHECK(fed.FreeMib() == 1000);
}

TEST_CASE("A waiting pod that a full read no longer names is forgotten, one that is filtered or named meanwhile is not") {
  Fed fed;
  fed.ReadNode(1);
  for (const auto* name : {"gone", "named", "named-in-a-read-that-failed"}) fed.Refuse(name);
  fed.pods.ReplaceBegin();
  fed.pods.Upsert(WaitingPod("named-in-a-read-that-failed"));
  fed.pods.ReplaceBegin();
  fed.pods.Upsert(WaitingPod("named"));
  fed.Refuse("created-meanwhile");
  fed.pods.ReplaceEnd();
  CHECK(fed.WaitingNames() == std::vector<std::string>{"created-meanwhile", "named"});
}

TEST_CASE("A pod with an unreadable allocation closes its node, and opens it again when it goes") {
  Fed fed;
  fed.ReadNode(1);
  k8s::Pod pod = BoundPod("a", 300, 2);
  pod.annotations[std::string(device::kAllocationAnnotation)] = "{";
  fed.pods.Upsert(k8s::Pod(pod));
  fed.pods.Flush();
  CHECK(fed.cluster.counts().quarantined_nodes == 1);
  fed.pods.Remove(std::move(pod));
  fed.pods.Flush();
  CHECK(fed.cluster.counts().quarantined_nodes == 0);
}

k8s::Pod IdentityOf(const std::string& name) {
  k8s::Pod identity = BoundPod(name, 0, 0);
  identity.annotations.clear();
  return identity;
}

TEST_CASE("A pod that cannot be decoded closes its node, in a full read too, until it can be read again") {
  Fed fed;
  fed.ReadNode(1);
  fed.pods.Upsert(BoundPod("a", 300, 2));
  fed.pods.ReplaceBegin();
  fed.pods.Undecodable(IdentityOf("a"), {Code::kInvalid, "spec: is a list"});
  fed.pods.ReplaceEnd();
  CHECK(fed.cluster.counts().quarantined_nodes == 1);
  fed.pods.Upsert(BoundPod("a", 300, 3));
  fed.pods.Flush();
  CHECK(fed.cluster.counts().quarantined_nodes == 0);
  CHECK(fed.FreeMib() == 700);
}

TEST_CASE("A node that cannot be decoded is closed until it can be read again") {
  Fed fed;
  fed.ReadNode(1);
  k8s::Node identity;
  identity.name = "n1";
  identity.uid = "node-uid";
  fed.nodes.Undecodable(std::move(identity), {Code::kInvalid, "metadata.annotations: is a number"});
  fed.nodes.Flush();
  CHECK(fed.cluster.counts().quarantined_nodes == 1);
  fed.ReadNode(2);
  CHECK(fed.cluster.counts().quarantined_nodes == 0);
}

TEST_CASE("An object without even a name or UID changes nothing") {
  Fed fed;
  fed.ReadNode(1);
  fed.nodes.Undecodable({}, {Code::kInvalid, "metadata.name: is a number"});
  fed.pods.Undecodable({}, {Code::kInvalid, "spec: is a list"});
  CHECK(fed.FreeMib() == 1000);
}

TEST_CASE("Quotas come, change and go, and count what bound pods hold") {
  Fed fed;
  fed.ReadNode(1);
  fed.pods.Upsert(BoundPod("a", 300, 2));
  const auto quota = [](const std::string& text, std::uint64_t version) {
    k8s::ResourceQuota made;
    made.ns = "team";
    made.name = "q";
    made.resource_version = version;
    made.hard["limits.nvidia.com/gpumem"] = text;
    return made;
  };
  std::vector<std::int64_t> seen;
  const auto look = [&] {
    seen.clear();
    fed.cluster.VisitQuotas([&](const scheduler::QuotaLedger::Entry& entry) { seen = {entry.used, entry.most}; });
    return seen;
  };
  fed.quotas.ReplaceBegin();
  fed.quotas.Upsert(quota("1k", 3));
  fed.quotas.ReplaceEnd();
  CHECK(look() == std::vector<std::int64_t>{300, 1000});
  fed.quotas.Upsert(quota("500", 5));
  fed.quotas.Upsert(quota("700", 4));  // late news of what was before
  CHECK(look() == std::vector<std::int64_t>{300, 500});
  k8s::ResourceQuota broken;
  broken.ns = "team";
  broken.name = "q";
  fed.quotas.Undecodable(std::move(broken), {Code::kInvalid, "spec is a number, not an object"});
  CHECK_THAT(fed.cluster.QuotaRefusal("team", {}).value_or(""), Catch::Contains("spec is a number"));
  fed.quotas.Remove(quota("500", 6));
  CHECK(look().empty());
}

}  // namespace
}  // namespace partage::app
