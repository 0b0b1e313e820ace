// SPDX-License-Identifier: Apache-2.0
#include "cli/scheduling_cycle.h"

#include <nlohmann/json.hpp>

namespace partage::cli {
namespace {

using nlohmann::json;

Result<json> Call(HttpClient& extender, const std::string& path, const std::string& body) {
  const auto answer = BodyOf(extender.Post(path, body), path);
  if (!answer) return Fail(answer.error());
  json parsed = json::parse(*answer, nullptr, false);
  if (parsed.is_discarded()) return Fail(Code::kInvalid, "{}: the answer is not JSON", path);
  return parsed;
}

/// ExtenderArgs of a nodeCacheCapable extender. The pod's document is put in as it is.
std::string Arguments(const ManifestPod& pod, const std::vector<std::string>& nodes) {
  return R"({"Pod":)" + pod.json + R"(,"Nodes":null,"NodeNames":)" + json(nodes).dump() + "}";
}

void AddRefusals(const json& answer, const char* member, CycleOutcome& outcome) {
  const json failed = answer.value(member, json::object());
  for (const auto& [node, reason] : failed.items()) outcome.refusals[reason.get<std::string>()].push_back(node);
}

/// An absent or null member is an empty list.
std::vector<std::string> NodeNames(const json& answer) {
  const json names = answer.value("NodeNames", json());
  return names.is_array() ? names.get<std::vector<std::string>>() : std::vector<std::string>();
}

/// The node with the highest score; the first of several.
Result<std::string> Best(HttpClient& extender, const ManifestPod& pod, const std::vector<std::string>& nodes) {
  const auto scores = Call(extender, "/prioritize", Arguments(pod, nodes));
  if (!scores) return Fail(scores.error());
  std::string best = nodes.front();
  std::int64_t highest = -1;
  for (const json& entry : *scores) {
    const std::int64_t score = entry.at("Score");
    if (score <= highest) continue;
    highest = score;
    best = entry.at("Host");
  }
  return best;
}

Result<> Bind(HttpClient& extender, const ManifestPod& pod, const std::string& node, CycleOutcome& outcome) {
  const json arguments = {{"PodName", pod.name}, {"PodNamespace", pod.ns}, {"PodUID", pod.uid}, {"Node", node}};
  const auto answer = Call(extender, "/bind", arguments.dump());
  if (!answer) return Fail(answer.error());
  outcome.error = answer->value("Error", "");
  if (outcome.error.empty()) outcome.node = node;
  return {};
}

Result<CycleOutcome> Cycle(HttpClient& extender, const ManifestPod& pod, const std::vector<std::string>& candidates) {
  const auto filtered = Call(extender, "/filter", Arguments(pod, candidates));
  if (!filtered) return Fail(filtered.error());
  CycleOutcome outcome;
  outcome.error = filtered->value("Error", "");
  if (!outcome.error.empty()) return outcome;
  const auto nodes = NodeNames(*filtered);
  if (nodes.empty()) {
    AddRefusals(*filtered, "FailedNodes", outcome);
    AddRefusals(*filtered, "FailedAndUnresolvableNodes", outcome);
    return outcome;
  }
  const auto node = nodes.size() == 1 ? Result<std::string>(nodes.front()) : Best(extender, pod, nodes);
  if (!node) return Fail(node.error());
  if (auto bound = Bind(extender, pod, *node, outcome); !bound) return Fail(bound.error());
  return outcome;
}

}  // namespace

Result<CycleOutcome> Schedule(HttpClient& extender, const ManifestPod& pod, const std::vector<std::string>& candidates) {
  try {
    return Cycle(extender, pod, candidates);
  } catch (const json::exception& error) {
    return Fail(Code::kInvalid, "the answer is not kube-scheduler's protocol: {}", error.what());
  }
}

}  // namespace partage::cli
