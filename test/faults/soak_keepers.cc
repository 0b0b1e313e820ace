// SPDX-License-Identifier: Apache-2.0
#include "test/faults/soak_keepers.h"

#include <fmt/format.h>

#include "test/faults/soak_ledgers.h"
#include "test/faults/soak_traffic.h"

namespace partage::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr std::int64_t kMostCappedMib = 1'200'000, kMostUrgentMib = 100'000;
constexpr const char* kKey = "limits.nvidia.com/gpumem";

json Quota(const std::string& name, const std::string& mib) {
  return {{"metadata", {{"namespace", kSoakCapped}, {"name", name}}}, {"spec", {{"hard", {{kKey, mib}}}}}};
}

std::string Passed(const Held& held, std::int64_t most, const char* what) {
  std::int64_t sum = 0;
  for (const auto& [share, mib] : held) sum += mib;
  return sum <= most ? std::string() : fmt::format("the quota \"{}\" of {} MiB is passed: {} MiB are bound", what, most, sum);
}

}  // namespace

SoakKeepers::SoakKeepers(FakeApiServer& api, unsigned seed) : api_(api), dice_(seed) {
  api_.Put(Kind::kQuotas, Quota("fixed", std::to_string(kMostCappedMib)).dump());
  auto urgent = Quota("urgent", std::to_string(kMostUrgentMib));
  urgent["spec"]["scopeSelector"]["matchExpressions"] = {{{"scopeName", "PriorityClass"}, {"operator", "In"}, {"values", {kSoakUrgent}}}};
  api_.Put(Kind::kQuotas, urgent.dump());
  ticker_.Start(100ms, [this] { Turn(); });
}

void SoakKeepers::Calm() {
  const MutexLock lock(mutex_);
  storm_ = false;
  // A mistyped quota would hold up the namespace for as long as the calm lasts.
  api_.Put(Kind::kQuotas, Quota("moving", std::to_string(kMostCappedMib)).dump());
}

void SoakKeepers::Storm() {
  const MutexLock lock(mutex_);
  storm_ = true;
}

std::string SoakKeepers::fault() const {
  const MutexLock lock(mutex_);
  return fault_;
}

void SoakKeepers::Turn() {
  const MutexLock lock(mutex_);
  EndLeaving();
  if (storm_ && OneIn(10)) ChangeSomething();
  if (!OneIn(10) || !fault_.empty()) return;
  fault_ = Passed(Truth(api_, kSoakCapped), kMostCappedMib, "fixed");
  if (fault_.empty()) fault_ = Passed(Truth(api_, kSoakCapped, kSoakUrgent), kMostUrgentMib, "urgent");
}

void SoakKeepers::EndLeaving() {
  const auto page = api_.store().List(Kind::kPods, {}, 0, {}, 0);
  for (const auto& object : page->objects) {
    if (object->rest.find("\"deletionTimestamp\"") == std::string::npos || !OneIn(4)) continue;
    const auto metadata = object->ToJson()["metadata"];
    ended_ += api_.Remove(Kind::kPods, fmt::format("{}/{}", metadata["namespace"].get<std::string>(), metadata["name"].get<std::string>()));
  }
}

void SoakKeepers::ChangeSomething() {
  ++changes_;
  switch (dice_() % 5) {
    case 0: return (void)api_.Remove(Kind::kQuotas, fmt::format("{}/moving", kSoakCapped));
    case 1: return (void)api_.Put(Kind::kQuotas, Quota("moving", "16Gi").dump());
    case 2: return api_.SetBudget(kSoakGuarded, OneIn(4) ? std::nullopt : std::optional<int>(dice_() % 5));
    default: return (void)api_.Put(Kind::kQuotas, Quota("moving", std::to_string(200'000 + dice_() % 2'000'000)).dump());
  }
}

}  // namespace partage::test
