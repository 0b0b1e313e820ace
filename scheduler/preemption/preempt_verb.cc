// SPDX-License-Identifier: Apache-2.0
#include "scheduler/preemption/preempt_verb.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "k8s/api/decode.h"
#include "metrics/catalog.h"
#include "scheduler/extender/pod_request.h"
#include "scheduler/extender/wire.h"
#include "scheduler/preemption/chooser.h"

namespace partage::scheduler {
namespace {

using simdjson::dom::element;
using Victims = PreemptArgs::Victims;

// The member, unless it is absent or null.
std::optional<element> Member(element object, std::string_view key) {
  element member;
  if (object[key].get(member) != simdjson::SUCCESS || member.is_null()) return std::nullopt;
  return member;
}

// A MetaPod has its UID on top, a whole pod in its metadata.
Result<std::string> UidOf(element pod, bool whole) {
  std::string_view uid;
  const auto error = whole ? pod["metadata"]["uid"].get(uid) : pod["UID"].get(uid);
  if (error != simdjson::SUCCESS || uid.empty()) return Fail(Code::kInvalid, "a victim has no UID");
  return std::string(uid);
}

Result<Victims> VictimsIn(element node, bool whole) {
  Victims victims;
  if (!node.is_object()) return Fail(Code::kInvalid, "its victims are not an object");
  if (const auto violations = Member(node, "NumPDBViolations"); violations && violations->get(victims.budget_violations)) {
    return Fail(Code::kInvalid, "NumPDBViolations is not a number");
  }
  const auto pods = Member(node, "Pods");
  if (!pods) return victims;
  simdjson::dom::array list;
  if (pods->get(list) != simdjson::SUCCESS) return Fail(Code::kInvalid, "Pods is not an array");
  for (const auto pod : list) {
    auto uid = UidOf(pod, whole);
    if (!uid) return Fail(uid.error());
    victims.uids.push_back(*std::move(uid));
  }
  return victims;
}

Result<> ReadNodes(element document, std::string_view key, bool whole, PreemptArgs& args) {
  const auto member = Member(document, key);
  if (!member) return {};
  simdjson::dom::object nodes;
  if (member->get(nodes) != simdjson::SUCCESS) return Fail(Code::kInvalid, "{}: not an object", key);
  for (const auto node : nodes) {
    auto victims = VictimsIn(node.value, whole);
    if (!victims) return Fail(victims.error(), fmt::format("{}[\"{}\"]", key, node.key));
    args.nodes.insert_or_assign(std::string(node.key), *std::move(victims));
  }
  return {};
}

// The node as it will be once these pods are gone. What the pod itself holds does not stand in its own way.
std::optional<Cluster::Tenancy> Without(const Cluster& cluster, const std::string& node, const PodRef& pod, const Victims& victims) {
  auto tenancy = cluster.Inspect(node);
  if (!tenancy) return std::nullopt;
  std::vector<PodUid> leaving = {PodUid(pod.uid)};
  for (const std::string& uid : victims.uids) leaving.emplace_back(uid);
  for (auto& tenant : tenancy->tenants) {
    if (std::find(leaving.begin(), leaving.end(), tenant.uid) != leaving.end()) tenant.terminating = true;
  }
  return tenancy;
}

}  // namespace

Result<PreemptArgs> DecodePreemptArgs(std::string_view body) {
  simdjson::dom::parser parser;
  element document;
  if (const auto error = parser.parse(body.data(), body.size()).get(document)) {
    return Fail(Code::kInvalid, "body: {}", simdjson::error_message(error));
  }
  if (!document.is_object()) return Fail(Code::kInvalid, "body: not a JSON object");
  PreemptArgs args;
  const auto pod = Member(document, "Pod");
  if (!pod) return Fail(Code::kInvalid, "Pod: missing");
  auto decoded = k8s::DecodePod(*pod);
  if (!decoded) return Fail(decoded.error(), "Pod");
  if (decoded->uid.empty()) return Fail(Code::kInvalid, "Pod: metadata.uid is missing");
  args.pod = *std::move(decoded);
  if (auto read = ReadNodes(document, "NodeNameToVictims", true, args); !read) return Fail(read.error());
  if (auto read = ReadNodes(document, "NodeNameToMetaVictims", false, args); !read) return Fail(read.error());
  return args;
}

std::string EncodePreemptResult(const std::map<std::string, Victims>& nodes) {
  auto all = nlohmann::json::object();
  for (const auto& [node, victims] : nodes) {
    auto pods = nlohmann::json::array();
    for (const std::string& uid : victims.uids) pods.push_back({{"UID", uid}});
    all[node] = {{"Pods", std::move(pods)}, {"NumPDBViolations", victims.budget_violations}};
  }
  return nlohmann::json{{"NodeNameToMetaVictims", std::move(all)}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::map<std::string, Victims> AnswerPreempt(Engine& engine, const PreemptArgs& args, const device::PodRequest* request) {
  if (request == nullptr) return args.nodes;
  const auto snapshot = engine.cluster().snapshot();
  const Ask ask(*request, engine.PoliciesFor(*request), *snapshot->kinds);
  std::map<std::string, Victims> kept;
  for (const auto& [node, victims] : args.nodes) {
    const auto tenancy = Without(engine.cluster(), node, RefOf(args.pod), victims);
    if (!tenancy) continue;
    const auto more = ChooseVictims(*tenancy, {ask, args.pod.priority}, std::numeric_limits<std::size_t>::max());
    if (!more) continue;
    Victims& all = kept.emplace(node, victims).first->second;
    for (const std::uint32_t tenant : *more) all.uids.push_back(tenancy->tenants[tenant].uid.ToString());
  }
  return kept;
}

http::Handler MakePreemptHandler(Engine& engine, const vendors::Catalog& vendors, std::function<bool()> ready,
                                 metrics::Registry& registry) {
  const auto requests = std::make_shared<const PodRequests>(vendors);
  const auto bad = registry.GetCounter(metrics::kRequestErrors, {"/preempt"});
  return [&engine, requests, ready = std::move(ready), bad](const http::Request& call, const http::Respond& respond) {
    const auto args = DecodePreemptArgs(call.body);
    if (!args) {
      bad.Inc();
      return respond({.status = 400, .body = EncodeMalformed(args.error().message), .content_type = "application/json"});
    }
    const auto request = requests->Of(args->pod);
    const bool ours = !request || *request != nullptr;
    if (ours && !ready()) return respond({.status = 503, .body = EncodeMalformed("not ready"), .content_type = "application/json"});
    // A request that cannot be served fits nowhere, whoever is evicted.
    if (request && *request != nullptr) engine.Remember(RefOf(args->pod), *request);
    const auto nodes = request ? AnswerPreempt(engine, *args, request->get()) : std::map<std::string, Victims>{};
    respond({.status = 200, .body = EncodePreemptResult(nodes), .content_type = "application/json"});
  };
}

}  // namespace partage::scheduler
