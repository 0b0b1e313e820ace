// SPDX-License-Identifier: Apache-2.0
// How pods leave: deletion with and without grace, eviction, disruption budgets.
#include <algorithm>
#include <chrono>

#include <fmt/chrono.h>

#include "test/support/fake_api_server.h"
#include "test/support/fake_api_wire.h"

namespace partage::test {
namespace {

using nlohmann::json;

constexpr int kUsualGrace = 30;
// Of an edit or a removal whose object has changed sides since: look again.
constexpr Code kLookAgain = Code::kUnavailable;

bool Finished(const json& pod) {
  const auto phase = pod.value("status", json::object()).value("phase", "");
  return phase == "Succeeded" || phase == "Failed";
}

// Seconds the object lives on once it is deleted; 0: it goes at once. Only a pod that a kubelet runs has somebody to wait for.
int GraceOf(Kind kind, const json& object, const json& options) {
  const auto spec = object.value("spec", json::object());
  if (kind != Kind::kPods || spec.value("nodeName", "").empty() || Finished(object)) return 0;
  return std::max(0, options.value("gracePeriodSeconds", spec.value("terminationGracePeriodSeconds", kUsualGrace)));
}

void BeginToLeave(json& pod, int grace, bool evicted) {
  if (evicted) {
    pod["status"]["conditions"].push_back(
        {{"type", "DisruptionTarget"}, {"status", "True"}, {"reason", "EvictionByEvictionAPI"}, {"message", "Eviction API: evicting"}});
  }
  auto& metadata = pod["metadata"];
  if (metadata.contains("deletionTimestamp") && metadata.value("deletionGracePeriodSeconds", 0) <= grace) return;
  const auto at = std::chrono::system_clock::now() + std::chrono::seconds(grace);
  metadata["deletionTimestamp"] = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(at)));
  metadata["deletionGracePeriodSeconds"] = grace;
}

// Budgets speak for pods that run.
bool AsksNoBudget(const json& pod) {
  return Finished(pod) || pod["metadata"].contains("deletionTimestamp") ||
         pod.value("status", json::object()).value("phase", "Pending") == "Pending";
}

std::string BudgetBody(const std::string& message) {
  auto status = json::parse(StatusBody(429, "Cannot evict pod as it would violate the pod's disruption budget."));
  status["details"] = {{"causes", {{{"reason", "DisruptionBudget"}, {"message", message}}}}};
  return status.dump();
}

}  // namespace

void FakeApiServer::SetBudget(const std::string& app, std::optional<int> disruptions) {
  MutexLock lock(mutex_);
  if (disruptions) {
    budgets_[app] = *disruptions;
  } else {
    budgets_.erase(app);
  }
}

// kUnavailable: it has nothing left.
Result<> FakeApiServer::AskBudget(const json& pod, bool spend) {
  if (AsksNoBudget(pod)) return {};
  const auto app = pod["metadata"].value("labels", json::object()).value("app", "");
  MutexLock lock(mutex_);
  const auto budget = budgets_.find(app);
  if (budget == budgets_.end()) return {};
  if (budget->second <= 0) return Fail(Code::kUnavailable, "The disruption budget {} allows no disruption now", app);
  if (spend) --budget->second;
  return {};
}

FakeApiServer::Answer FakeApiServer::DeleteObject(const ApiCall& call, const json& options, bool evicted) {
  const auto preconditions = options.value("preconditions", json::object());
  const auto check = [&](const json& object, bool goes_at_once) -> Result<> {
    if (auto met = CheckPreconditions(object, preconditions); !met) return met;
    if ((GraceOf(call.kind, object, options) == 0) != goes_at_once) return Fail(kLookAgain, "changed meanwhile");
    return {};
  };
  for (;;) {
    const auto gone = store_.Remove(call.kind, call.Key(), [&](const StoredObject& object) { return check(object.ToJson(), true); });
    if (gone || gone.error().code != kLookAgain) return Written(gone, call.kind, 200);
    const auto leaving = store_.Update(call.kind, call.Key(), [&](json& object) {
      auto checked = check(object, false);
      if (checked) BeginToLeave(object, GraceOf(call.kind, object, options), evicted);
      return checked;
    });
    if (leaving || leaving.error().code != kLookAgain) return Written(leaving, call.kind, 200);
  }
}

FakeApiServer::Answer FakeApiServer::Delete(const ApiCall& call) {
  auto options = call.http.body.empty() ? json::object() : json::parse(call.http.body);
  if (const auto grace = QueryOf(call.http.query, "gracePeriodSeconds"); !grace.empty()) options["gracePeriodSeconds"] = NumberOf(grace);
  return DeleteObject(call, options, false);
}

FakeApiServer::Answer FakeApiServer::Evict(const ApiCall& call) {
  const auto eviction = json::parse(call.http.body);
  if (eviction.value("metadata", json::object()).value("name", "") != call.name) {
    return {400, StatusBody(400, "name in URL does not match name in Eviction object")};
  }
  const auto pod = Get(Kind::kPods, call.Key());
  if (!pod) return {404, StatusBody(404, fmt::format("pods \"{}\" not found", call.name))};
  const auto options = eviction.value("deleteOptions", json::object());
  const bool dry_run = options.contains("dryRun") && !options["dryRun"].empty();
  if (const auto allowed = AskBudget(*pod, !dry_run); !allowed) return {429, BudgetBody(allowed.error().message)};
  if (const auto met = CheckPreconditions(*pod, options.value("preconditions", json::object())); !met) {
    return {409, StatusBody(409, met.error().message)};
  }
  if (!dry_run) {
    if (auto deleted = DeleteObject(call, options, true); deleted.status != 200) return deleted;
  }
  return {201, R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201})"};
}

}  // namespace partage::test
