// SPDX-License-Identifier: Apache-2.0
// Costs of the scheduler's inner parts, in process and without HTTP: for finding where a filter call's time goes. `partage-microbench --benchmark_filter=…`.
#include <algorithm>
#include <memory>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "base/check.h"
#include "http/server.h"
#include "k8s/api/decode.h"
#include "scheduler/engine/engine.h"
#include "scheduler/engine/placement.h"
#include "scheduler/engine/policy_set.h"
#include "scheduler/extender/wire.h"
#include "scheduler/state/feed.h"
#include "scheduler/webhook/webhook.h"
#include "test/bench/filter_body.h"
#include "vendors/vendor.h"

namespace partage::bench {
namespace {

using scheduler::Cluster;
using scheduler::Engine;
using scheduler::NodeId;

constexpr int kNodes = 15000;

// A cluster of 15,000 nodes that all benchmarks share: filling it takes longer than measuring.
class World {
 public:
  static World& Get() {
    static World world;
    return world;
  }

  const Fleet fleet{.nodes = kNodes};
  const vendors::Catalog vendors = vendors::Catalog::Embedded();
  SystemClock clock;
  Cluster cluster{clock};
  scheduler::Probe probe;
  std::unique_ptr<Engine> engine;

  scheduler::PodObservation Observed(int node, int pod) const {
    auto allocation = fleet.AllocationOf(node, pod);
    return {
        .pod = {"team", fleet.BoundPodKey(node, pod), MakeUuid(1, static_cast<std::uint64_t>(node) * 8 + static_cast<std::uint64_t>(pod))},
        .node = allocation.node,
        .usage = device::CollapseUsage(allocation),
        .allocation_error = ""};
  }

 private:
  World() {
    for (int n = 0; n < fleet.nodes; ++n) {
      cluster.ObserveNode({.name = fleet.NodeName(n),
                           .uid = MakeUuid(4, static_cast<std::uint64_t>(n)),
                           .inventory = fleet.InventoryOf(n),
                           .inventory_error = ""});
      for (int p = 0; p < fleet.pods_per_node; ++p) cluster.ObservePod(Observed(n, p));
    }
    cluster.Publish();
    auto made = Engine::Make(cluster, clock, {}, probe);
    PARTAGE_CHECK(made.has_value(), "the default policies are linked in");
    engine = std::move(*made);
  }
};

std::vector<std::string_view> Views(const std::vector<std::string>& names) { return {names.begin(), names.end()}; }

// What the forms of PendingPod ask for, as the parser would say it.
std::shared_ptr<const device::PodRequest> RequestOf(int form) {
  const auto pod = k8s::DecodePodText(PendingPod{0, form}.Text());
  PARTAGE_CHECK(pod.has_value(), "a made-up pod can be read");
  auto parsed = World::Get().vendors.Parse(scheduler::ToParserInput(*pod), scheduler::RegisteredPolicyNames());
  PARTAGE_CHECK(parsed.has_value(), "a made-up pod asks for something that can be served");
  return std::make_shared<device::PodRequest>(std::move(*parsed));
}

scheduler::PodInput Input(int serial, int form) {
  const PendingPod pod{serial, form};
  return {.pod = {std::string(PendingPod::kNamespace), pod.Name(), pod.Uid()}, .request = RequestOf(form), .has_soft_preferences = false};
}

void PerNode(benchmark::State& state, double nodes) {
  state.counters["per_node"] =
      benchmark::Counter(nodes * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// The whole engine call: names in, one name out, a nominal share left.
void EngineFilter(benchmark::State& state) {
  World& world = World::Get();
  const auto count = static_cast<int>(state.range(0));
  const auto names = Candidates(world.fleet, count, 1);
  const auto views = Views(names);
  const auto input = Input(1, static_cast<int>(state.range(1)));
  for (auto _ : state) {
    const auto outcome = world.engine->Filter(input, views);
    PARTAGE_CHECK(!outcome.fitting.empty(), "some node fits");
  }
  world.cluster.DropNominal(input.pod);
  PerNode(state, count);
}
BENCHMARK(EngineFilter)->ArgNames({"candidates", "form"})->ArgsProduct({{kNodes}, {0, 1, 2, 3, 4, 5, 6, 7}})->Unit(benchmark::kMicrosecond);
BENCHMARK(EngineFilter)->ArgNames({"candidates", "form"})->Args({500, 0})->Args({5000, 0})->Unit(benchmark::kMicrosecond);

scheduler::PodRef Claimant(int i) { return {fmt::format("claims-{}", i), "waits", MakeUuid(9, static_cast<std::uint64_t>(i)), 10}; }

// So many nodes are claimed by pods that others are evicted for, each of a namespace with a quota; the pod's own namespace has one too.
void EngineFilterBesideClaims(benchmark::State& state) {
  World& world = World::Get();
  const auto claims = static_cast<int>(state.range(0));
  const auto names = Candidates(world.fleet, kNodes, 1);
  const auto views = Views(names);
  const auto input = Input(3, 0);
  const auto snapshot = world.cluster.snapshot();
  const scheduler::Ask ask(**input.request, world.engine->PoliciesFor(**input.request), *snapshot->kinds);
  const auto place = [&](const scheduler::Block& block, std::uint32_t row) -> Result<device::Allocation> {
    if (auto allocation = scheduler::PlaceOnNode(block, row, ask)) return std::move(*allocation);
    return Fail(Code::kConflict, "no room");
  };
  const auto quota = [&](std::string_view ns) {
    world.cluster.ObserveQuota({.ns = std::string(ns),
                                .name = "q",
                                .resource_version = 0,
                                .limits = {{"limits.nvidia.com/gpumem", "nvidia", scheduler::QuotaLimit::Of::kMemory, 1'000'000'000}},
                                .scopes = {},
                                .error = {}});
  };
  if (claims > 0) quota(input.pod.ns);
  // Not every node has room; 37 and their number have no factor in common.
  int made = 0;
  for (int n = 0; n < kNodes && made < claims; ++n) {
    const auto node = world.fleet.NodeName(n * 37 % kNodes);
    made += world.cluster.Claim(Claimant(made), node, std::chrono::hours(1), {}, place).has_value();
  }
  PARTAGE_CHECK(made == claims, "there is room to claim");
  for (int i = 0; i < claims; ++i) quota(Claimant(i).ns);
  for (auto _ : state) {
    const auto outcome = world.engine->Filter(input, views);
    PARTAGE_CHECK(!outcome.fitting.empty(), "some node fits");
  }
  world.cluster.DropNominal(input.pod);
  for (int i = 0; i < claims; ++i) {
    world.cluster.DropClaim(Claimant(i));
    world.cluster.ForgetQuota(Claimant(i).ns, "q");
  }
  world.cluster.ForgetQuota(input.pod.ns, "q");
  PerNode(state, kNodes);
}
BENCHMARK(EngineFilterBesideClaims)->ArgName("claims")->Arg(0)->Arg(200)->Arg(0)->Arg(200)->Unit(benchmark::kMicrosecond);

void EngineRefusesEverywhere(benchmark::State& state) {
  World& world = World::Get();
  const auto names = Candidates(world.fleet, kNodes, 1);
  const auto views = Views(names);
  auto input = Input(2, 0);
  auto impossible = std::make_shared<device::PodRequest>(**input.request);
  impossible->containers.front().devices.front().mib = kGpuMib - 1;
  input.request = impossible;
  for (auto _ : state) {
    const auto outcome = world.engine->Filter(input, views);
    PARTAGE_CHECK(outcome.fitting.empty(), "no card is empty");
  }
  world.engine->Forget(input.pod.uid);
  PerNode(state, kNodes);
}
BENCHMARK(EngineRefusesEverywhere)->Unit(benchmark::kMicrosecond);

void ResolveNames(benchmark::State& state) {
  World& world = World::Get();
  const auto names = Candidates(world.fleet, kNodes, 1);
  const auto views = Views(names);
  const auto snapshot = world.cluster.snapshot();
  for (auto _ : state) {
    for (const auto& name : views) benchmark::DoNotOptimize(snapshot->index->Find(name));
  }
  PerNode(state, kNodes);
}
BENCHMARK(ResolveNames)->Unit(benchmark::kMicrosecond);

void DecodeFilterBody(benchmark::State& state) {
  const auto count = static_cast<int>(state.range(0));
  std::string body = FilterBody(0, Candidates(World::Get().fleet, count, 1)).For(1);
  const std::size_t size = body.size();
  body.resize(size + http::kBodyPadding);
  scheduler::ArgsDecoder decoder;
  const auto index = World::Get().cluster.snapshot()->index;
  for (auto _ : state) PARTAGE_CHECK(decoder.Decode(std::string_view(body).substr(0, size), index).has_value(), "the body is well-formed");
  PerNode(state, count);
}
BENCHMARK(DecodeFilterBody)->Arg(500)->Arg(5000)->Arg(kNodes)->Unit(benchmark::kMicrosecond);

// Choosing devices on one node.
void Place(benchmark::State& state) {
  World& world = World::Get();
  auto policies = scheduler::PolicySet::Make("binpack", {"spread"});
  PARTAGE_CHECK(policies.has_value(), "the policies are linked in");
  const auto request = RequestOf(static_cast<int>(state.range(0)));
  const auto snapshot = world.cluster.snapshot();
  const scheduler::Ask ask(*request, policies->For(*request), *snapshot->kinds);
  NodeId id = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(scheduler::PlaceOnNode(snapshot->block(id), id % scheduler::kBlockNodes, ask));
    id = (id + 1) % kNodes;
  }
}
BENCHMARK(Place)->ArgName("form")->DenseRange(0, PendingPod::kForms - 1);

// A pod's share changes, and readers see it.
void ChangeAndPublish(benchmark::State& state) {
  World& world = World::Get();
  int node = 0;
  for (auto _ : state) {
    auto pod = world.Observed(node, 0);
    pod.usage.front().usage.cores += 1;
    world.cluster.ObservePod(pod);
    world.cluster.Publish();
    pod.usage.front().usage.cores -= 1;
    world.cluster.ObservePod(pod);
    world.cluster.Publish();
    node = (node + 67) % kNodes;
  }
}
BENCHMARK(ChangeAndPublish)->Unit(benchmark::kMicrosecond);

void DecodeBoundPod(benchmark::State& state) {
  World& world = World::Get();
  const std::string text = world.fleet.BoundPodText(1, 1);
  for (auto _ : state) {
    const auto pod = k8s::DecodePodText(text);
    benchmark::DoNotOptimize(scheduler::Observe(*pod, world.vendors));
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(DecodeBoundPod)->Unit(benchmark::kMicrosecond);

void DecodeNode(benchmark::State& state) {
  World& world = World::Get();
  const std::string text = world.fleet.NodeText(1);
  for (auto _ : state) {
    const auto node = k8s::DecodeNodeText(text);
    benchmark::DoNotOptimize(scheduler::Observe(*node, world.vendors));
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(DecodeNode)->Unit(benchmark::kMicrosecond);

/// A review of a pod with one container: these limits, and fifty environment variables as real pods have them.
std::string ReviewOf(std::string_view limits) {
  std::string env;
  for (int i = 0; i < 50; ++i) env += fmt::format(R"({}{{"name":"NAME_{}","value":"{:v<40}"}})", i == 0 ? "" : ",", i, "");
  return fmt::format(
      R"({{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","kind":{{"group":"","version":"v1","kind":"Pod"}},)"
      R"("resource":{{"group":"","version":"v1","resource":"pods"}},"namespace":"team","operation":"CREATE","object":{{"apiVersion":"v1","kind":"Pod",)"
      R"("metadata":{{"generateName":"p-"}},"spec":{{"schedulerName":"default-scheduler","containers":[{{"name":"main","env":[{}],)"
      R"("resources":{{"limits":{{{}}}}}}}]}}}}}}}})",
      env, limits);
}

// The webhook's answer to one review. `changing`: something is published before each, as while pods are bound.
void Admit(benchmark::State& state, std::string_view limits, bool changing = false) {
  World& world = World::Get();
  metrics::Registry registry;
  const scheduler::Webhook webhook(*world.engine, world.vendors, {}, registry);
  std::string body = ReviewOf(limits);
  const std::size_t size = body.size();
  body.resize(size + http::kBodyPadding);
  const http::Request request{.method = "POST", .path = "/mutate", .query = {}, .body = std::string_view(body).substr(0, size)};
  auto pod = world.Observed(0, 0);
  for (auto _ : state) {
    if (changing) {
      pod.usage.front().usage.cores ^= 1;
      world.cluster.ObservePod(pod);
      world.cluster.Publish();
    }
    PARTAGE_CHECK(webhook.Mutate(request, true).status == 200, "the review is well-formed");
  }
}
BENCHMARK_CAPTURE(Admit, asks_nothing_of_ours, R"("cpu":"1")")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Admit, asks_for_a_share, R"("nvidia.com/gpumem":"1000")")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Admit, fits_never, R"("nvidia.com/gpumem":"9999999")")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Admit, fits_never_in_a_changing_cluster, R"("nvidia.com/gpumem":"9999999")", true)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace partage::bench

BENCHMARK_MAIN();
