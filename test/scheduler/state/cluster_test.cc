// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/cluster.h"

#include <catch2/catch.hpp>
#include <optional>
#include <set>
#include <string>

#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::Bound;
using test::ManualClock;
using test::Node;
using test::Ref;

device::Allocation Share(const std::string& node, const std::string& uuid, std::int32_t mib, std::int32_t cores = 10) {
  return {.node = node, .containers = {{.name = "main", .vendor = "nvidia", .shares = {{uuid, mib, cores}}}}};
}

Cluster::Placer On(const std::string& node, const std::string& uuid, std::int32_t mib, std::int32_t cores = 10) {
  return [=](const Block&, std::uint32_t) -> Result<device::Allocation> { return Share(node, uuid, mib, cores); };
}

/// One node with two devices of 1000 MiB.
struct Fixture {
  ManualClock clock;
  Cluster cluster{clock};

  Fixture() {
    cluster.ObserveNode(Node("n1").Gpus(2, 1000).Version(1));
    cluster.Publish();
  }
  std::int64_t Free(std::uint32_t position) const {
    const auto snapshot = cluster.snapshot();
    const NodeId id = snapshot->index->Find("n1");
    return snapshot->block(id).free_mib[snapshot->row(id).first + position];
  }
  bool Open() const {
    const auto snapshot = cluster.snapshot();
    return snapshot->row(snapshot->index->Find("n1")).open;
  }
  ~Fixture() { CHECK(cluster.CheckInvariants().has_value()); }
};

TEST_CASE_METHOD(Fixture, "A bound pod takes its share off the device and gives it back when deleted") {
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu1", 300)));
  cluster.Publish();
  CHECK(Free(0) == 1000);
  CHECK(Free(1) == 700);
  cluster.ForgetPod(Ref("a"));
  cluster.Publish();
  CHECK(Free(1) == 1000);
}

TEST_CASE_METHOD(Fixture, "The same observation twice changes nothing") {
  for (int i = 0; i < 2; ++i) cluster.ObservePod(Bound("a", Share("n1", "n1-gpu0", 300), 7));
  cluster.Publish();
  CHECK(Free(0) == 700);
}

TEST_CASE_METHOD(Fixture, "A finished pod gives its share back, and a late echo does not take it again") {
  auto seen = Bound("a", Share("n1", "n1-gpu0", 300), 7);
  cluster.ObservePod(seen);
  auto finished = seen;
  finished.finished = true;
  finished.resource_version = 8;
  cluster.ObservePod(finished);
  cluster.ObservePod(seen);
  cluster.Publish();
  CHECK(Free(0) == 1000);
}

TEST_CASE_METHOD(Fixture, "A pod seen before its node is booked when the node appears") {
  cluster.ObservePod(Bound("a", Share("n2", "n2-gpu0", 300)));
  cluster.ObserveNode(Node("n2").Gpu(1000));
  cluster.Publish();
  const auto snapshot = cluster.snapshot();
  CHECK(snapshot->row(snapshot->index->Find("n2")).used.mib == 300);
  CHECK(snapshot->row(snapshot->index->Find("n2")).open);
}

TEST_CASE_METHOD(Fixture, "An allocation nobody can read quarantines its node until the pod is gone") {
  auto seen = Bound("a", Share("n1", "n1-gpu0", 300));
  seen.usage.clear();
  seen.allocation_error = "not JSON";
  cluster.ObservePod(seen);
  cluster.Publish();
  CHECK_FALSE(Open());
  CHECK_FALSE(cluster.Nominate(Ref("b"), "n1", 1s, On("n1", "n1-gpu1", 1)).has_value());
  cluster.ForgetPod(Ref("a"));
  cluster.Publish();
  CHECK(Open());
}

TEST_CASE_METHOD(Fixture, "A share of an unknown device quarantines the node until the device appears") {
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu2", 300)));
  cluster.Publish();
  CHECK_FALSE(Open());
  cluster.ObserveNode(Node("n1").Gpus(3, 1000).Version(2));
  cluster.Publish();
  CHECK(Open());
  CHECK(Free(2) == 700);
}

TEST_CASE_METHOD(Fixture, "An unreadable inventory keeps the last good one and quarantines the node") {
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu0", 300)));
  NodeObservation broken = Node("n1").Version(2);
  broken.inventory_error = "version 9 is unknown";
  cluster.ObserveNode(broken);
  cluster.Publish();
  CHECK_FALSE(Open());
  CHECK(Free(0) == 700);
  cluster.ObserveNode(Node("n1").Gpus(2, 1000).Version(3));
  cluster.Publish();
  CHECK(Open());
}

TEST_CASE_METHOD(Fixture, "A nominal share holds the room until its time is up") {
  REQUIRE(cluster.Nominate(Ref("a"), "n1", 10s, On("n1", "n1-gpu0", 800)).has_value());
  CHECK(Free(0) == 200);
  CHECK_FALSE(cluster.Nominate(Ref("b"), "n1", 10s, On("n1", "n1-gpu0", 800)).has_value());
  clock.Advance(9s);
  CHECK(cluster.ExpireNominals() == 0);
  clock.Advance(2s);
  CHECK(cluster.ExpireNominals() == 1);
  CHECK(Free(0) == 1000);
}

TEST_CASE_METHOD(Fixture, "Reserve turns the nominal share into the same devices") {
  REQUIRE(cluster.Nominate(Ref("a"), "n1", 10s, On("n1", "n1-gpu1", 800)).has_value());
  auto reservation = cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 800));
  REQUIRE(reservation.has_value());
  CHECK(reservation->allocation() == Share("n1", "n1-gpu1", 800));
  CHECK(cluster.counts().nominal == 0);
  CHECK(cluster.counts().reserved == 1);
}

TEST_CASE_METHOD(Fixture, "A reservation that is not committed gives its share back") {
  { REQUIRE(cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 800)).has_value()); }
  CHECK(Free(0) == 1000);
  CHECK(cluster.counts().reserved == 0);
}

TEST_CASE_METHOD(Fixture, "A committed reservation survives echoes from before the bind and is confirmed by the watch") {
  auto reservation = cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 800));
  REQUIRE(reservation.has_value());
  reservation->Commit();
  auto echo = Bound("a", Share("n1", "n1-gpu0", 800), 3);
  echo.node.clear();
  echo.usage.clear();
  cluster.ObservePod(echo);
  CHECK(Free(0) == 200);
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu0", 800), 4));
  cluster.Publish();
  CHECK(Free(0) == 200);
  CHECK(cluster.counts().pods_bound == 1);
}

TEST_CASE_METHOD(Fixture, "A pod is reserved once, however often bind is called") {
  auto first = cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 100));
  auto second = cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu1", 100));
  REQUIRE(first.has_value());
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Code::kConflict);
  first->Commit();
  CHECK(cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu1", 100)).error().code == Code::kConflict);
  CHECK(Free(1) == 1000);
}

TEST_CASE_METHOD(Fixture, "An unresolved bind keeps its share until it is settled") {
  {
    auto reservation = cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 800));
    REQUIRE(reservation.has_value());
    reservation->LeaveUnresolved();
  }
  CHECK(Free(0) == 200);
  REQUIRE(cluster.InFlight(Ref("a")).has_value());
  cluster.Settle(Ref("a"), false);
  CHECK(Free(0) == 1000);
  CHECK_FALSE(cluster.InFlight(Ref("a")).has_value());
}

TEST_CASE_METHOD(Fixture, "A watch settles an unresolved bind") {
  auto reservation = cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 800));
  REQUIRE(reservation.has_value());
  reservation->LeaveUnresolved();
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu0", 800), 4));
  CHECK_FALSE(cluster.InFlight(Ref("a")).has_value());
  cluster.Settle(Ref("a"), false);
  CHECK(Free(0) == 200);
}

TEST_CASE_METHOD(Fixture, "Deleting a pod whose bind is in flight frees its share, the late commit does not take it back") {
  auto reservation = cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 800));
  REQUIRE(reservation.has_value());
  cluster.ForgetPod(Ref("a"));
  reservation->Commit();
  cluster.Publish();
  CHECK(Free(0) == 1000);
  CHECK(cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 1)).error().code == Code::kNotFound);
}

TEST_CASE_METHOD(Fixture, "A full list drops what it does not name, but not what was bound after it began") {
  cluster.ObservePod(Bound("old", Share("n1", "n1-gpu0", 100)));
  cluster.BeginPodList();
  auto reservation = cluster.Reserve(Ref("new"), "n1", On("n1", "n1-gpu1", 100));
  REQUIRE(reservation.has_value());
  reservation->Commit();
  cluster.EndPodList();
  cluster.Publish();
  CHECK(Free(0) == 1000);
  CHECK(Free(1) == 900);
}

TEST_CASE_METHOD(Fixture, "What was bound is in doubt until a list, a watch or somebody else tells of it") {
  const auto bind = [this](const std::string& name) {
    auto reservation = cluster.Reserve(Ref(name), "n1", On("n1", "n1-gpu0", 100));
    REQUIRE(reservation.has_value());
    return *std::move(reservation);
  };
  const auto doubtful = [this] {
    std::set<std::string> names;
    for (const PodRef& pod : cluster.DoubtfulPods().pods) names.insert(pod.name);
    return names;
  };
  using Names = std::set<std::string>;
  bind("before").Commit();
  CHECK(doubtful() == Names{"before"});
  cluster.BeginPodList();
  bind("during").Commit();
  auto after = bind("after");
  std::optional<Reservation> never = bind("never");
  bind("named").Commit();
  cluster.ObservePod(Bound("named", Share("n1", "n1-gpu0", 100)));
  CHECK(doubtful() == Names{"before", "during"});
  cluster.EndPodList();
  CHECK(doubtful() == Names{"during"});
  after.Commit();
  never.reset();
  CHECK(doubtful() == Names{"during", "after"});
  cluster.ObservePod(Bound("after", Share("n1", "n1-gpu0", 100)));
  CHECK(doubtful() == Names{"during"});
  cluster.ForgetPod(Ref("during"));
  CHECK(doubtful().empty());
  cluster.BeginPodList();
  cluster.EndPodList();
  CHECK(doubtful().empty());
}

TEST_CASE_METHOD(Fixture, "Who is confirmed is in doubt no more, unless another full list has missed it since") {
  const auto missed = [this] {
    auto reservation = cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 100));
    REQUIRE(reservation.has_value());
    reservation->Commit();
    cluster.EndPodList();
  };
  cluster.BeginPodList();
  missed();
  const auto doubts = cluster.DoubtfulPods();
  REQUIRE(doubts.pods.size() == 1);
  SECTION("no other list") {
    cluster.ConfirmPod(Ref("a"), doubts.list);
    CHECK(cluster.DoubtfulPods().pods.empty());
    SECTION("which drops it") {
      cluster.BeginPodList();
      cluster.EndPodList();
      cluster.Publish();
      CHECK(Free(0) == 1000);
    }
  }
  SECTION("read while another list is, and gone before that one was made") {
    cluster.ForgetPod(Ref("a"));
    cluster.BeginPodList();
    auto reservation = cluster.Reserve(Ref("b"), "n1", On("n1", "n1-gpu0", 100));
    REQUIRE(reservation.has_value());
    reservation->Commit();
    const auto earlier = cluster.DoubtfulPods();
    cluster.EndPodList();
    cluster.ConfirmPod(Ref("b"), earlier.list);
    CHECK(cluster.DoubtfulPods().pods.size() == 1);
  }
}

TEST_CASE_METHOD(Fixture, "A placer cannot exceed a device, whatever it returns") {
  CHECK(cluster.Reserve(Ref("a"), "n1", On("n1", "n1-gpu0", 1001)).error().code == Code::kInternal);
  CHECK(cluster.Reserve(Ref("a"), "n1", On("n1", "elsewhere", 1)).error().code == Code::kInternal);
  REQUIRE(cluster.Nominate(Ref("b"), "n1", 1s, On("n1", "n1-gpu0", 100, 100)).has_value());
  CHECK(cluster.Reserve(Ref("c"), "n1", On("n1", "n1-gpu0", 1, 0)).error().code == Code::kInternal);
  CHECK(Free(1) == 1000);
}

TEST_CASE_METHOD(Fixture, "A node that shrinks under its pods is overcommitted, not forgotten") {
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu0", 800)));
  cluster.ObserveNode(Node("n1").Gpus(2, 500).Version(2));
  cluster.Publish();
  CHECK(Free(0) == -300);
  CHECK(cluster.counts().overcommitted_devices == 1);
}

TEST_CASE_METHOD(Fixture, "A deleted node is unknown, its pods count again when it comes back") {
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu0", 800)));
  cluster.ForgetNode("n1", 5);
  cluster.Publish();
  CHECK(cluster.snapshot()->index->Find("n1") == kNoNode);
  cluster.ObserveNode(Node("n1").Gpus(2, 1000).Version(3));
  cluster.Publish();
  CHECK(cluster.snapshot()->index->Find("n1") == kNoNode);
  cluster.ObserveNode(Node("n1").Gpus(2, 1000).Version(6));
  cluster.Publish();
  CHECK(Free(0) == 200);
}

TEST_CASE_METHOD(Fixture, "Nodes on which something became free are told once") {
  cluster.TakeFreedNodes();
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu0", 800)));
  CHECK(cluster.TakeFreedNodes().empty());
  cluster.ForgetPod(Ref("a"));
  CHECK(cluster.TakeFreedNodes() == std::vector<std::string>{"n1"});
  CHECK(cluster.TakeFreedNodes().empty());
}

TEST_CASE_METHOD(Fixture, "A reader's snapshot does not change under it") {
  const auto before = cluster.snapshot();
  cluster.ObservePod(Bound("a", Share("n1", "n1-gpu0", 800)));
  cluster.Publish();
  const NodeId id = before->index->Find("n1");
  CHECK(before->row(id).used.mib == 0);
  CHECK(cluster.snapshot()->row(id).used.mib == 800);
  CHECK(cluster.snapshot()->version > before->version);
}

}  // namespace
}  // namespace partage::scheduler
