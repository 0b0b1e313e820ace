// SPDX-License-Identifier: Apache-2.0
// One node at a time is made a document and printed: a cluster of 15,000 nodes as one document would cost hundreds of MiB.
#include <algorithm>
#include <tuple>

#include <nlohmann/json.hpp>

#include "http/server.h"
#include "scheduler/extender/extender.h"

namespace partage::scheduler {
namespace {

using Json = nlohmann::ordered_json;

std::string Print(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json Capacity(std::int64_t total, std::int64_t used) { return {{"total", total}, {"used", used}}; }

Json DeviceJson(const DeviceView& view) {
  const device::Device& device = *view.device;
  return {{"uuid", device.uuid},
          {"vendor", device.vendor},
          {"model", device.model},
          {"index", device.index},
          {"numa", device.numa},
          {"mode", device::ToString(device.mode)},
          {"healthy", device.healthy},
          {"cordoned", device.cordoned},
          {"slots", Capacity(view.total.slots, view.used.slots)},
          {"memoryMiB", Capacity(view.total.mib, view.used.mib)},
          {"cores", Capacity(view.total.cores, view.used.cores)}};
}

Json UsageJson(const device::UuidUsage& entry) {
  return {{"uuid", entry.uuid},
          {"slots", entry.usage.slots},
          {"memoryMiB", entry.usage.mib},
          {"cores", entry.usage.cores},
          {"exclusive", entry.usage.exclusive}};
}

Json PodJson(const Cluster::PodEntry& pod) {
  Json json = {{"namespace", pod.ns}, {"name", pod.name}, {"uid", pod.uid.ToString()}, {"state", ToString(pod.state)}};
  json["devices"] = Json::array();
  for (const device::UuidUsage& entry : pod.usage) json["devices"].push_back(UsageJson(entry));
  if (!pod.allocation_error.empty()) json["allocationError"] = pod.allocation_error;
  return json;
}

Json PodsOf(const Cluster& cluster, const std::string& node) {
  std::vector<std::pair<std::tuple<std::string, std::string, std::string>, Json>> pods;
  cluster.VisitPods(node, [&](const Cluster::PodEntry& pod) {
    pods.emplace_back(std::tuple(std::string(pod.ns), std::string(pod.name), pod.uid.ToString()), PodJson(pod));
  });
  std::sort(pods.begin(), pods.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Json json = Json::array();
  for (auto& [name, pod] : pods) json.push_back(std::move(pod));
  return json;
}

Json NodeJson(const Cluster& cluster, const Snapshot& snapshot, NodeId id, bool with_pods) {
  const NodeInfo& info = snapshot.info(id);
  Json json = {{"name", info.name}, {"inventory", info.inventory.dialect == device::NodeInventory::Dialect::kHami ? "hami" : "partage"}};
  if (!info.quarantine.empty()) json["quarantine"] = info.quarantine;
  json["devices"] = Json::array();
  for (std::uint32_t position = 0; position < snapshot.row(id).count; ++position) {
    json["devices"].push_back(DeviceJson(snapshot.block(id).View(id % kBlockNodes, position)));
  }
  if (with_pods) json["pods"] = PodsOf(cluster, info.name);
  return json;
}

Json CountsJson(const Cluster::Counts& counts) {
  return {{"nodes", counts.nodes},
          {"devices", counts.devices},
          {"podsBound", counts.pods_bound},
          {"reserved", counts.reserved},
          {"nominal", counts.nominal},
          {"quarantinedNodes", counts.quarantined_nodes},
          {"overcommittedDevices", counts.overcommitted_devices}};
}

Json WaitingJson(std::vector<Engine::Waiting> waiting) {
  const auto name = [](const Engine::Waiting& entry) { return std::tie(entry.pod.ns, entry.pod.name, entry.pod.uid); };
  std::sort(waiting.begin(), waiting.end(), [&](const auto& a, const auto& b) { return name(a) < name(b); });
  Json json = Json::array();
  for (const Engine::Waiting& entry : waiting) {
    json.push_back({{"namespace", entry.pod.ns}, {"name", entry.pod.name}, {"uid", entry.pod.uid}, {"reason", entry.text}});
  }
  return json;
}

}  // namespace

std::string StateJson(Engine& engine, std::string_view query) {
  const std::string only_node = http::QueryParameter(query, "node");
  const bool with_pods = http::QueryParameter(query, "pods") != "false";
  const Cluster& cluster = engine.cluster();
  const auto snapshot = cluster.snapshot();

  std::string out = R"({"counts":)" + Print(CountsJson(cluster.counts())) + R"(,"nodes":[)";
  for (const NodeId id : snapshot->index->ordered()) {
    if (!only_node.empty() && snapshot->info(id).name != only_node) continue;
    if (out.back() != '[') out += ',';
    out += Print(NodeJson(cluster, *snapshot, id, with_pods));
  }
  out += R"(],"waiting":)" + Print(WaitingJson(engine.waiting())) + "}";
  return out;
}

}  // namespace partage::scheduler
