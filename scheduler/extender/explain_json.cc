// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "http/server.h"
#include "scheduler/extender/extender.h"

namespace partage::scheduler {
namespace {

using Json = nlohmann::ordered_json;

http::Response Reply(int status, const Json& json) {
  return {.status = status, .body = json.dump(-1, ' ', false, Json::error_handler_t::replace), .content_type = "application/json"};
}

http::Response Fault(int status, const std::string& what) { return Reply(status, {{"error", what}}); }

Json RequestJson(const device::PodRequest& request) {
  Json containers = Json::array();
  for (const auto& container : request.containers) {
    for (const auto& wanted : container.devices) {
      Json json = {{"container", container.name}, {"vendor", wanted.vendor}, {"count", wanted.count}};
      json[wanted.mib > 0 ? "memoryMiB" : "memoryPercent"] = wanted.mib > 0 ? wanted.mib : wanted.percent;
      json["cores"] = wanted.cores;
      containers.push_back(std::move(json));
    }
  }
  return containers;
}

Json ChangeJson(const Change& change) {
  Json json = {{"what", ToString(change.kind)}};
  if (change.kind == ChangeKind::kConstraints) return json;
  json["container"] = change.container;
  json["from"] = change.from;
  json["to"] = change.to;
  return json;
}

Json DiagnosisJson(const Diagnosis& diagnosis) {
  Json json = {{"fits", {{"nodes", diagnosis.fitting}, {"first", diagnosis.named}}}};
  json["refused"] = Json::array();
  for (const auto& group : diagnosis.groups) json["refused"].push_back({{"nodes", group.nodes}, {"reason", group.text}});
  if (!diagnosis.nearest_node.empty()) json["nearest"] = {{"node", diagnosis.nearest_node}, {"reason", diagnosis.nearest_text}};
  json["changes"] = Json::array();
  for (const Change& change : diagnosis.changes) json["changes"].push_back(ChangeJson(change));
  return json;
}

Json DecisionJson(const Engine& engine, const Decision& decision) {
  return {{"node", decision.node},
          {"nodePolicy", engine.NodePolicyOf(*decision.request)},
          {"devicePolicies", engine.DevicePoliciesOf(*decision.request)},
          {"score", decision.score},
          {"candidates", decision.candidates},
          {"shortlist", decision.shortlist}};
}

Json DevicesJson(const std::vector<device::UuidUsage>& usage) {
  Json devices = Json::array();
  for (const auto& entry : usage) {
    devices.push_back({{"uuid", entry.uuid}, {"memoryMiB", entry.usage.mib}, {"cores", entry.usage.cores}});
  }
  return devices;
}

// The pod's share, wherever it is. Node after node, so that the ledger is never held for long.
std::optional<Json> ShareJson(const Cluster& cluster, std::string_view ns, std::string_view name) {
  const auto snapshot = cluster.snapshot();
  std::optional<Json> share;
  for (const NodeId id : snapshot->index->ordered()) {
    const std::string node(snapshot->index->Name(id));
    cluster.VisitPods(node, [&](const Cluster::PodEntry& pod) {
      if (pod.ns == ns && pod.name == name) {
        share = Json{{"state", ToString(pod.state)}, {"uid", pod.uid.ToString()}, {"node", node}, {"devices", DevicesJson(pod.usage)}};
      }
    });
    if (share) break;
  }
  return share;
}

Json QuotasJson(const Cluster& cluster, std::string_view ns) {
  Json limits = Json::array();
  cluster.VisitQuotas([&](const QuotaLedger::Entry& entry) {
    if (entry.ns == ns) limits.push_back({{"quota", entry.name}, {"key", entry.key}, {"used", entry.used}, {"limit", entry.most}});
  });
  return limits;
}

Json WaitingJson(Engine& engine, const Engine::Remembered& pod) {
  Json json = {{"state", "waiting"}, {"uid", pod.pod.uid}, {"reason", pod.text}, {"request", RequestJson(*pod.request)}};
  if (const auto over = engine.cluster().QuotaRefusal(pod.pod.ns, *pod.request)) {
    json["quota"] = {{"reason", *over}, {"limits", QuotasJson(engine.cluster(), pod.pod.ns)}};
  }
  json.update(DiagnosisJson(engine.Diagnose(*pod.request)));
  return json;
}

}  // namespace

http::Response ExplainReply(Engine& engine, std::string_view query) {
  const std::string pod = http::QueryParameter(query, "pod");
  const std::size_t slash = pod.find('/');
  if (slash == pod.npos || slash == 0 || slash + 1 == pod.size() || pod.find('/', slash + 1) != pod.npos) {
    return Fault(400, fmt::format("pod=\"{}\" is not NAMESPACE/NAME", pod));
  }
  const auto ns = std::string_view(pod).substr(0, slash), name = std::string_view(pod).substr(slash + 1);
  Json json = {{"pod", pod}};
  if (const auto known = engine.Find(ns, name); known && known->waiting && known->request != nullptr) {
    json.update(WaitingJson(engine, *known));
    return Reply(200, json);
  }
  const auto share = ShareJson(engine.cluster(), ns, name);
  if (!share) {
    return Fault(
        404,
        fmt::format("pod {} neither waits for a share nor holds one: it asks for none, is gone, or was never sent to this scheduler", pod));
  }
  json.update(*share);
  if (const auto decision = engine.DecisionOf(ns, name)) json["decision"] = DecisionJson(engine, *decision);
  return Reply(200, json);
}

}  // namespace partage::scheduler
