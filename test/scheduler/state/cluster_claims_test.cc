// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>

#include "scheduler/state/cluster.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::Bound;
using test::ManualClock;
using test::Node;
using test::Ref;

device::Allocation Share(std::int32_t mib) {
  return {.node = "n1", .containers = {{.name = "main", .vendor = "nvidia", .shares = {{"n1-gpu0", mib, 10}}}}};
}

// Takes the room if it is there.
Cluster::Placer Wants(std::int32_t mib) {
  return [mib](const Block& block, std::uint32_t row) -> Result<device::Allocation> {
    if (block.free_mib[block.rows[row].first] < mib) return Fail(Code::kConflict, "full");
    return Share(mib);
  };
}

/// One device of 1000 MiB, which pod "low" holds whole.
struct Full {
  ManualClock clock;
  Cluster cluster{clock};
  const PodUid low{Ref("low").uid};

  Full() {
    cluster.ObserveNode(Node("n1").Gpus(1, 1000));
    cluster.ObservePod(Bound("low", Share(1000)));
    cluster.Publish();
    REQUIRE(cluster.Claim(Ref("high"), "n1", 60s, {{low}}, Wants(600)));
  }
  ~Full() { CHECK(cluster.CheckInvariants().has_value()); }

  void LowGoes() {
    cluster.ForgetPod(Ref("low"));
    cluster.Publish();
  }
  Result<> Nominate(const std::string& pod, std::int32_t mib) { return cluster.Nominate(Ref(pod), "n1", 15s, Wants(mib)); }
};

TEST_CASE_METHOD(Full, "A claim is booked on top of the pods that leave for it, and is not called overcommitment") {
  CHECK(cluster.counts().claimed == 1);
  CHECK(cluster.counts().pods_bound == 1);
  CHECK(cluster.counts().nominal == 0);
  CHECK(cluster.counts().overcommitted_devices == 0);
  CHECK(cluster.ClaimedNode(Ref("high")) == "n1");
}

TEST_CASE_METHOD(Full, "What leaving pods leave behind is the claimant's alone, the rest is anybody's") {
  LowGoes();
  CHECK_FALSE(Nominate("thief", 500));
  CHECK(Nominate("other", 400));
  CHECK(Nominate("high", 600));
  CHECK_FALSE(cluster.ClaimedNode(Ref("high")));
  CHECK(cluster.Reserve(Ref("high"), "n1", Wants(600)).has_value());
}

TEST_CASE_METHOD(Full, "A claimant that asks too early is refused and keeps its claim") {
  CHECK_FALSE(Nominate("high", 600));
  CHECK(cluster.ClaimedNode(Ref("high")) == "n1");
  cluster.DropNominal(Ref("high"));
  CHECK(cluster.ClaimedNode(Ref("high")) == "n1");
  LowGoes();
  CHECK_FALSE(Nominate("thief", 500));
  CHECK(Nominate("high", 600));
}

TEST_CASE_METHOD(Full, "A claim ends with its time, unless it is renewed, and with its pod") {
  clock.Advance(50s);
  CHECK(cluster.RenewClaim(Ref("high"), 60s));
  clock.Advance(50s);
  CHECK(cluster.ExpireNominals() == 0);
  SECTION("time") {
    clock.Advance(11s);
    CHECK(cluster.ExpireNominals() == 1);
  }
  SECTION("pod") { cluster.ForgetPod(Ref("high")); }
  SECTION("dropped") { cluster.DropClaim(Ref("high")); }
  CHECK_FALSE(cluster.RenewClaim(Ref("high"), 60s));
  LowGoes();
  CHECK(Nominate("other", 1000));
}

TEST_CASE_METHOD(Full, "A claim is ripe when its room is free, not before") {
  const std::vector<std::string> nodes = {"n0", "n1"};
  CHECK_FALSE(cluster.NodeWithRipeClaim(nodes));
  LowGoes();
  CHECK(cluster.NodeWithRipeClaim(nodes) == "n1");
}

TEST_CASE_METHOD(Full, "Two claims never count on the same leaving pod") {
  CHECK_FALSE(cluster.Claim(Ref("second"), "n1", 60s, {{low}}, Wants(600)));
  CHECK(cluster.Claim(Ref("third"), "n1", 60s, {{low}}, Wants(400)));
}

TEST_CASE_METHOD(Full, "A pod seen terminating, or just evicted, leaves by itself") {
  SECTION("seen") {
    auto seen = Bound("low", Share(1000));
    seen.terminating = true;
    cluster.ObservePod(seen);
    cluster.ObservePod(Bound("low", Share(1000)));
  }
  SECTION("evicted") { cluster.NoteEvicted(low); }
  CHECK(cluster.Claim(Ref("second"), "n1", 60s, {}, Wants(400)));
}

TEST_CASE_METHOD(Full, "A claim on a pod that is gone is refused") {
  LowGoes();
  CHECK_FALSE(cluster.Claim(Ref("second"), "n1", 60s, {{low}}, Wants(100)));
}

TEST_CASE_METHOD(Full, "Priority and age of a pod are kept, from its filter, its bind and its watch") {
  auto pod = Ref("late");
  pod.priority = -7;
  REQUIRE(cluster.Claim(pod, "n1", 60s, {{low}}, Wants(100)));
  CHECK(cluster.lowest_priority() == -7);
  LowGoes();
  REQUIRE(cluster.Nominate(pod, "n1", 15s, Wants(100)));
  auto reservation = cluster.Reserve(Ref("late"), "n1", Wants(100));
  REQUIRE(reservation);
  reservation->Commit();
  CHECK(cluster.Who(PodUid(pod.uid))->priority == -7);
  auto seen = Bound("late", Share(100));
  seen.pod.priority = 8;
  seen.created = 77;
  cluster.ObservePod(seen);
  const auto tenancy = cluster.Inspect("n1");
  REQUIRE(tenancy);
  const auto tenant = std::find_if(tenancy->tenants.begin(), tenancy->tenants.end(),
                                   [&](const Cluster::Tenant& other) { return other.uid == PodUid(pod.uid); });
  REQUIRE(tenant != tenancy->tenants.end());
  CHECK(tenant->priority == 8);
  CHECK(tenant->created == 77);
}

}  // namespace
}  // namespace partage::scheduler
