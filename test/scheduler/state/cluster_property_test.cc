// SPDX-License-Identifier: Apache-2.0
// Random histories: whatever happens in whatever order, no device is given out twice and nothing leaks.
#include <algorithm>
#include <map>
#include <random>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "scheduler/state/cluster.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using test::Bound;
using test::ManualClock;
using test::Node;
using test::Ref;

constexpr int kNodes = 3;
constexpr int kPods = 12;
constexpr int kDevices = 2;
constexpr int kMib = 100;

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  int Below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(engine_); }
  std::mt19937& engine() { return engine_; }

 private:
  std::mt19937 engine_;
};

std::string NodeName(int i) { return fmt::format("n{}", i); }

// First fit for one share of `mib`: honest, so that Place's own check never fires.
Cluster::Placer FirstFit(int mib, int cores) {
  return [=](const Block& block, std::uint32_t row) -> Result<device::Allocation> {
    const NodeInfo& info = *(*block.infos)[row];
    for (std::uint32_t p = 0; p < block.rows[row].count && block.rows[row].open; ++p) {
      const std::uint32_t d = block.rows[row].first + p;
      const bool alone = cores < 100 || block.free_slots[d] == block.total_slots[d];
      if (block.flags[d] != 0 || block.free_slots[d] < 1 || block.free_mib[d] < mib || block.free_cores[d] < cores || !alone) continue;
      return device::Allocation{
          .node = info.name,
          .containers = {{.name = "main", .vendor = "nvidia", .shares = {{info.inventory.devices[p].uuid, mib, cores}}}}};
    }
    return Fail(Code::kConflict, "full");
  };
}

std::string Dump(const Cluster& cluster) {
  std::string text;
  const auto snapshot = cluster.snapshot();
  for (const NodeId id : snapshot->index->ordered()) {
    const NodeRow& row = snapshot->row(id);
    text += fmt::format("{} open={} used={}/{}/{}\n", snapshot->index->Name(id), row.open, row.used.slots, row.used.mib, row.used.cores);
    std::vector<std::string> pods;
    cluster.VisitPods(snapshot->index->Name(id), [&](const Cluster::PodEntry& pod) {
      std::string line = fmt::format("  {} {}", pod.name, pod.allocation_error);
      for (const auto& [uuid, usage] : pod.usage) line += fmt::format(" {}:{}:{}", uuid, usage.mib, usage.cores);
      pods.push_back(line + "\n");
    });
    std::sort(pods.begin(), pods.end());
    for (const auto& pod : pods) text += pod;
  }
  return text;
}

/// Random calls of everything Cluster offers, as reflectors and binders make them.
class History {
 public:
  explicit History(unsigned seed) : random_(seed) {
    for (int n = 0; n < kNodes; ++n) cluster_.ObserveNode(Node(NodeName(n)).Gpus(kDevices, kMib));
  }

  void Step() {
    const int pod = random_.Below(kPods);
    switch (random_.Below(14)) {
      case 0:
        cluster_.ForgetPod(Fresh(pod));
        ++generation_[pod];
        reservations_.erase(pod);
        break;
      case 1: Finish(pod); break;
      case 2: Bind(pod); break;
      case 3:
      case 4: Nominate(pod); break;
      case 5: Reserve(pod); break;
      case 6:
        if (Held(pod)) {
          reservations_.at(pod).Commit();
          reservations_.erase(pod);
        }
        break;
      case 7: reservations_.erase(pod); break;
      case 8: Unresolved(pod); break;
      case 9: ChangeNode(random_.Below(kNodes)); break;
      case 10:
        clock_.Advance(std::chrono::seconds(random_.Below(3)));
        cluster_.ExpireNominals();
        break;
      case 11: Relist(); break;
      default: Claim(pod); break;
    }
    cluster_.Publish();
  }

  void Check() const {
    const auto sound = cluster_.CheckInvariants();
    INFO((sound ? "" : sound.error().message));
    REQUIRE(sound.has_value());
    if (!shrunk_) REQUIRE(cluster_.counts().overcommitted_devices == 0);
  }

  /// Everything ends: nothing may stay booked.
  void Drain() {
    reservations_.clear();
    for (int pod = 0; pod < kPods; ++pod) cluster_.ForgetPod(Fresh(pod));
    cluster_.Publish();
    const auto snapshot = cluster_.snapshot();
    for (const NodeId id : snapshot->index->ordered()) REQUIRE(snapshot->row(id).used == Amount{});
    const auto counts = cluster_.counts();
    REQUIRE(counts.pods_bound + counts.nominal + counts.claimed + counts.reserved == 0);
  }

 private:
  PodRef Fresh(int pod) { return Ref(fmt::format("p{}-{}", pod, generation_[pod])); }
  bool Held(int pod) const { return reservations_.contains(pod); }
  std::string AnyNode() { return NodeName(random_.Below(kNodes)); }
  Cluster::Placer AnyPlacer() { return FirstFit(random_.Below(60), random_.Below(4) == 0 ? 100 : random_.Below(50)); }

  void Finish(int pod) {
    cluster_.ObservePod({.pod = Fresh(pod), .node = AnyNode(), .finished = true, .usage = {}, .allocation_error = ""});
    ++generation_[pod];
    reservations_.erase(pod);
  }
  // A watch reports what an API server could report: a pod of ours as we bound it.
  void Bind(int pod) {
    auto flying = cluster_.InFlight(Fresh(pod));
    if (!flying) return;
    PodObservation seen{.pod = Fresh(pod), .node = flying->node, .usage = device::CollapseUsage(*flying), .allocation_error = ""};
    cluster_.ObservePod(seen);
  }
  void Nominate(int pod) { (void)cluster_.Nominate(Fresh(pod), AnyNode(), std::chrono::seconds(2), AnyPlacer()); }
  // On top of any of the pods there, some of which are then evicted.
  void Claim(int pod) {
    const std::string node = AnyNode();
    std::vector<PodUid> leaving;
    if (const auto tenancy = cluster_.Inspect(node)) {
      for (const auto& tenant : tenancy->tenants) {
        if (tenant.state == Cluster::ShareState::kBound && random_.Below(2) == 0) leaving.push_back(tenant.uid);
      }
    }
    if (!cluster_.Claim(Fresh(pod), node, std::chrono::seconds(2), leaving, AnyPlacer())) return;
    REQUIRE(cluster_.ClaimedNode(Fresh(pod)) == node);
    for (const PodUid& uid : leaving) {
      if (random_.Below(2) == 0) cluster_.NoteEvicted(uid);
    }
  }
  void Reserve(int pod) {
    auto reservation = cluster_.Reserve(Fresh(pod), AnyNode(), AnyPlacer());
    if (reservation) reservations_.emplace(pod, std::move(*reservation));
  }
  void Unresolved(int pod) {
    if (Held(pod)) {
      reservations_.at(pod).LeaveUnresolved();
      reservations_.erase(pod);
    } else {
      cluster_.Settle(Fresh(pod), random_.Below(2) == 0);
    }
  }
  void ChangeNode(int n) {
    switch (random_.Below(4)) {
      case 0: cluster_.ForgetNode(NodeName(n), 0); break;
      case 1: cluster_.ObserveNode(Node(NodeName(n)).Gpus(kDevices, kMib)); break;
      case 2: cluster_.ObserveNode(Node(NodeName(n)).Gpus(1 + random_.Below(3), kMib)); break;
      default: shrunk_ = true; cluster_.ObserveNode(Node(NodeName(n)).Gpus(kDevices, kMib / 2));
    }
  }
  void Relist() {
    cluster_.BeginPodList();
    for (int pod = 0; pod < kPods; ++pod) {
      if (random_.Below(2) == 0) Bind(pod);
    }
    cluster_.EndPodList();
  }

  Random random_;
  ManualClock clock_;
  Cluster cluster_{clock_};
  std::map<int, Reservation> reservations_;
  std::map<int, int> generation_;
  bool shrunk_ = false;
};

TEST_CASE("Whatever is called in whatever order, the books balance after every step and nothing leaks") {
  const unsigned base = std::random_device{}();
  for (unsigned round = 0; round < 60; ++round) {
    INFO("seed " << base + round);
    History history(base + round);
    for (int step = 0; step < 150; ++step) {
      history.Step();
      history.Check();
    }
    history.Drain();
  }
}

/// What an API server could say of a few pods and nodes, each event with its own resourceVersion.
struct Event {
  std::function<void(Cluster&)> apply;
};

std::vector<Event> RandomEvents(Random& random) {
  std::vector<Event> events;
  std::uint64_t version = 1;
  for (int n = 0; n < kNodes; ++n) {
    for (int change = 0; change < 3; ++change) {
      events.push_back({[node = NodeObservation(Node(NodeName(n)).Gpus(1 + random.Below(3), kMib).Version(++version))](Cluster& c) {
        c.ObserveNode(node);
      }});
    }
    if (random.Below(3) == 0) events.push_back({[name = NodeName(n), v = ++version](Cluster& c) { c.ForgetNode(name, v); }});
  }
  for (int p = 0; p < kPods; ++p) {
    const std::string name = fmt::format("p{}", p);
    const std::string node = NodeName(random.Below(kNodes));
    const device::Allocation share{.node = node,
                                   .containers = {{.name = "m", .shares = {{node + "-gpu0", random.Below(50), random.Below(40)}}}}};
    PodObservation pending{.pod = Ref(name), .resource_version = ++version};
    PodObservation bound = Bound(name, share, ++version);
    PodObservation over = Bound(name, share, ++version);
    over.finished = true;
    events.push_back({[pending](Cluster& c) { c.ObservePod(pending); }});
    events.push_back({[bound](Cluster& c) { c.ObservePod(bound); }});
    if (random.Below(3) == 0) events.push_back({[over](Cluster& c) { c.ObservePod(over); }});
    if (random.Below(3) == 0) events.push_back({[name](Cluster& c) { c.ForgetPod(Ref(name)); }});
  }
  return events;
}

TEST_CASE("Events in any order, some of them twice, end in the same state") {
  const unsigned base = std::random_device{}();
  for (unsigned round = 0; round < 100; ++round) {
    INFO("seed " << base + round);
    Random random(base + round);
    const auto events = RandomEvents(random);
    const ManualClock clock;
    Cluster ordered(clock), shuffled(clock);
    for (const Event& event : events) event.apply(ordered);
    auto mixed = events;
    mixed.insert(mixed.end(), events.begin(), events.begin() + static_cast<std::ptrdiff_t>(events.size() / 2));
    std::shuffle(mixed.begin(), mixed.end(), random.engine());
    for (const Event& event : mixed) event.apply(shuffled);
    ordered.Publish();
    shuffled.Publish();
    REQUIRE(Dump(ordered) == Dump(shuffled));
    REQUIRE(shuffled.CheckInvariants().has_value());
  }
}

}  // namespace
}  // namespace partage::scheduler
