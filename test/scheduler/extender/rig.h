// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <future>
#include <memory>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "metrics/registry.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/binder.h"
#include "test/scheduler/extender/scripted_api.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"
#include "vendors/vendor.h"

namespace partage::test {

/// A pod as the API server holds it before it is bound: one container that asks for one GPU with this much memory; 0: for no GPU.
inline k8s::Pod UnboundPod(const std::string& name, int mib) {
  k8s::Pod pod;
  pod.ns = "default";
  pod.name = name;
  pod.uid = "uid-of-" + name;
  pod.containers.push_back({.name = "c0", .limits = {}, .requests = {}});
  if (mib > 0) pod.containers[0].limits = {{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", std::to_string(mib)}};
  return pod;
}

/// The deadline of binds in tests: so long that a machine too busy to run the threads does not meet it by chance.
inline constexpr std::chrono::minutes kBindDeadline{10};

/// Everything around a Binder: a real ledger and engine, a scripted API server, a clock that only moves when told.
class Rig {
 public:
  explicit Rig(scheduler::BinderOptions options = {.workers = 4, .deadline = kBindDeadline})
      : cluster_(clock_),
        engine_(scheduler::Engine::Make(cluster_, clock_, {}, probe_).value()),
        api_(clock_),
        catalog_(vendors::Catalog::Embedded()),
        binder_(std::make_unique<scheduler::Binder>(*engine_, api_, catalog_, clock_, options, registry_)) {}

  Rig& With(const scheduler::NodeObservation& node) {
    cluster_.ObserveNode(node);
    cluster_.Publish();
    return *this;
  }
  /// A pod at the API server.
  Rig& With(const k8s::Pod& pod) {
    api_.Put(pod);
    return *this;
  }
  /// The pod goes through filter, so that the engine remembers its request and its nominal share.
  Rig& Filtered(const std::string& name, const Ask& ask, std::string_view node) {
    const std::vector<std::string_view> candidates = {node};
    REQUIRE(engine_->Filter(Input(name, ask), candidates).fitting.size() == 1);
    return *this;
  }

  std::future<Result<>> Start(const std::string& name, const std::string& node) {
    auto promise = std::make_shared<std::promise<Result<>>>();
    auto future = promise->get_future();
    binder_->Bind(Ref(name), node, [promise](Result<> bound) { promise->set_value(std::move(bound)); });
    return future;
  }

  /// The answer, with time passing while it is waited for.
  Result<> Await(std::future<Result<>>& answer, std::chrono::milliseconds step = std::chrono::milliseconds(50)) {
    while (answer.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) clock_.Advance(step);
    return answer.get();
  }
  Result<> Bind(const std::string& name, const std::string& node, std::chrono::milliseconds step = std::chrono::milliseconds(50)) {
    auto answer = Start(name, node);
    return Await(answer, step);
  }

  /// Lets time pass until `condition` holds; it must within an hour.
  template <class Condition>
  void PassTimeUntil(Condition condition) {
    const auto limit = clock_.Now() + std::chrono::hours(1);
    while (!condition()) {
      REQUIRE(clock_.Now() < limit);
      clock_.Advance(std::chrono::milliseconds(50));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  void CheckLedger(std::size_t bound, std::size_t reserved) const {
    const auto counts = cluster_.counts();
    CHECK(counts.pods_bound == bound);
    CHECK(counts.reserved == reserved);
    CHECK(counts.overcommitted_devices == 0);
    const auto sound = cluster_.CheckInvariants();
    CHECK((sound ? "" : sound.error().message) == "");
  }

  ManualClock& clock() { return clock_; }
  scheduler::Cluster& cluster() { return cluster_; }
  scheduler::Engine& engine() { return *engine_; }
  ScriptedApi& api() { return api_; }
  scheduler::Binder& binder() { return *binder_; }
  const vendors::Catalog& catalog() const { return catalog_; }
  metrics::Registry& registry() { return registry_; }

 private:
  ManualClock clock_;
  scheduler::Cluster cluster_;
  scheduler::Probe probe_;
  std::unique_ptr<scheduler::Engine> engine_;
  ScriptedApi api_;
  const vendors::Catalog catalog_;
  metrics::Registry registry_;
  std::unique_ptr<scheduler::Binder> binder_;
};

}  // namespace partage::test
