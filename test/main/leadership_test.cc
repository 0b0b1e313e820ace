// SPDX-License-Identifier: Apache-2.0
#include "main/leadership.h"

#include <catch2/catch.hpp>

#include "test/support/fake_lease.h"
#include "test/support/manual_clock.h"

namespace partage::app {
namespace {

using namespace std::chrono_literals;
using test::FakeLease;
using test::FakeLeaseView;
using test::ManualClock;

// One cluster: the replicas' lease, kube-scheduler's lease, one time.
struct World {
  ManualClock clock;
  FakeLease lease, kube_scheduler;

  void KubeScheduler(const std::string& holder) {
    static int renewals = 0;
    kube_scheduler.Set({.holder = holder, .duration = 15s, .renew_time = std::to_string(++renewals)});
  }
};

// A replica and the reading of its pods.
struct Replica {
  Replica(World& world, const std::string& host, bool follows)
      : leadership(std::make_unique<FakeLeaseView>(world.lease), follows ? std::make_unique<FakeLeaseView>(world.kube_scheduler) : nullptr,
                   {.elector = {.identity = host + "_8780_x", .predecessor = {}, .timings = {}}, .neighbour = host},
                   {[this] { return ++reads_wanted; }, [this](std::uint64_t number) { return reads_done >= number; }}, world.clock,
                   registry) {}

  /// Becomes active: the lease, then the read.
  void Activate() {
    leadership.Tick();
    reads_done = reads_wanted;
    leadership.Tick();
    REQUIRE(leadership.active());
  }
  bool Metric(const std::string& line) const { return registry.Expose().find("\n" + line + "\n") != std::string::npos; }

  metrics::Registry registry;
  std::uint64_t reads_wanted = 0, reads_done = 0;
  Leadership leadership;
};

TEST_CASE("A replica that has the lease writes only when every pod was read after that") {
  World world;
  Replica replica(world, "a", false);
  CHECK(replica.leadership.CurrentTerm().error().message.find("standby: the lease kube-system/fake is held by nobody") !=
        std::string::npos);
  replica.leadership.Tick();
  CHECK(replica.reads_wanted == 1);
  CHECK(replica.leadership.CurrentTerm().error().message.find("every pod is being read") != std::string::npos);
  CHECK_FALSE(replica.leadership.BeginWrite(1));
  replica.reads_done = 1;
  CHECK(replica.leadership.CurrentTerm() == 1U);
  CHECK(replica.leadership.BeginWrite(1));
  replica.leadership.Tick();
  CHECK(replica.Metric("partage_active 1"));
  CHECK(replica.Metric("partage_active_changes_total{state=\"active\"} 1"));
  CHECK(replica.Metric("partage_fenced_writes_total 1"));
}

TEST_CASE("A write may be sent until the renew deadline, not later, even by a process that stood still before it asked") {
  World world;
  Replica replica(world, "a", false);
  replica.Activate();
  const auto acquired = world.clock.Now();
  world.clock.Advance(9s);
  {
    const auto permit = replica.leadership.BeginWrite(1);
    REQUIRE(permit);
    CHECK(permit->send_by() == acquired + 10s);
  }
  world.clock.Advance(1s);
  CHECK_FALSE(replica.leadership.BeginWrite(1));
  CHECK_FALSE(replica.leadership.active());
}

TEST_CASE("What was decided in a term that has ended is not written in the next") {
  World world;
  Replica replica(world, "a", false);
  replica.Activate();
  world.clock.Advance(30s);
  replica.Activate();
  CHECK(replica.reads_wanted == 2);
  CHECK(replica.leadership.CurrentTerm() == 2U);
  const auto permit = replica.leadership.BeginWrite(1);
  REQUIRE_FALSE(permit);
  CHECK(permit.error().message.find("another replica was active since") != std::string::npos);
}

TEST_CASE("A stop hands the lease over at once, but not while a write is on its way") {
  World world;
  Replica a(world, "a", false), b(world, "b", false);
  a.Activate();
  SECTION("nothing on its way") {
    a.leadership.Stop();
    b.Activate();
    CHECK(a.Metric("partage_active 0"));
  }
  SECTION("a write whose end nobody will hear of") {
    auto permit = a.leadership.BeginWrite(1);
    REQUIRE(permit);
    permit->Keep();
    a.leadership.Stop();
    b.leadership.Tick();
    CHECK(world.lease.stored()->holder == "a_8780_x");
    world.clock.Advance(15s);
    b.Activate();
  }
  CHECK_FALSE(a.leadership.active());
}

// ---- Beside a kube-scheduler ----

TEST_CASE("Beside a kube-scheduler only the neighbour of the one that holds kube-scheduler's lease is active") {
  World world;
  Replica a(world, "a", true), b(world, "b", true);
  a.leadership.Tick();
  CHECK_FALSE(world.lease.stored());
  world.KubeScheduler("b_uuid");
  world.clock.Advance(500ms);
  a.leadership.Tick();
  CHECK_FALSE(world.lease.stored());
  b.Activate();
  CHECK_THAT(a.leadership.status(), Catch::Contains("held by nobody") && Catch::Contains("held by b_uuid"));
}

TEST_CASE("A replica whose neighbour lost its lease hands over when its last write has ended, and starts none meanwhile") {
  World world;
  Replica a(world, "a", true), b(world, "b", true);
  world.KubeScheduler("a_uuid");
  a.Activate();
  std::optional<scheduler::WriteFence::Permit> permit;
  permit.emplace(*a.leadership.BeginWrite(1));
  world.KubeScheduler("b_uuid");
  world.clock.Advance(500ms);
  a.leadership.Tick();
  CHECK_FALSE(a.leadership.active());
  CHECK_FALSE(a.leadership.BeginWrite(1));
  b.leadership.Tick();
  CHECK(world.lease.stored()->holder == "a_8780_x");
  permit.reset();
  world.clock.Advance(50ms);
  a.leadership.Tick();
  CHECK(world.lease.stored()->holder.empty());
  world.clock.Advance(500ms);
  b.Activate();
  CHECK_FALSE(a.leadership.active());
}

TEST_CASE("A write that never ends does not hold up the hand-over longer than the lease") {
  World world;
  Replica a(world, "a", true), b(world, "b", true);
  world.KubeScheduler("a_uuid");
  a.Activate();
  const auto permit = *a.leadership.BeginWrite(1);
  world.KubeScheduler("b_uuid");
  const auto begun = world.clock.Now();
  while (!b.leadership.active() && world.clock.Now() < begun + 60s) {
    world.clock.Advance(500ms);
    world.KubeScheduler("b_uuid");
    a.leadership.Tick();
    b.leadership.Tick();
    b.reads_done = b.reads_wanted;
    CHECK_FALSE((a.leadership.active() && b.leadership.active()));
  }
  CHECK(b.leadership.active());
  CHECK(world.clock.Now() <= begun + 16s);
}

TEST_CASE(
    "When machine and kube-scheduler fail together, the other replica has watched the lease meanwhile and need not wait for it twice") {
  World world;
  Replica a(world, "a", true), b(world, "b", true);
  world.KubeScheduler("a_uuid");
  a.Activate();
  b.leadership.Tick();
  for (int i = 0; i < 32; ++i) {
    world.clock.Advance(500ms);
    b.leadership.Tick();
  }
  world.KubeScheduler("b_uuid");
  world.clock.Advance(500ms);
  b.Activate();
}

TEST_CASE("A replica whose kube-scheduler is dead stands by when that one's lease runs out") {
  World world;
  Replica a(world, "a", true);
  world.KubeScheduler("a_uuid");
  a.Activate();
  for (int i = 0; i < 32; ++i) {
    CHECK((a.leadership.active() || i >= 29));
    world.clock.Advance(500ms);
    a.leadership.Tick();
  }
  CHECK_FALSE(a.leadership.active());
  CHECK(world.lease.stored()->holder.empty());
}

TEST_CASE("A neighbour that gets its lease back makes its replica active in a new term, after another read") {
  World world;
  Replica a(world, "a", true);
  world.KubeScheduler("a_1");
  a.Activate();
  world.KubeScheduler("b_1");
  world.clock.Advance(500ms);
  a.leadership.Tick();
  world.KubeScheduler("a_2");
  world.clock.Advance(2500ms);
  a.Activate();
  CHECK(a.leadership.CurrentTerm() == 2U);
  CHECK(a.reads_wanted == 2);
}

TEST_CASE("Ticks come a quarter of a retry period apart beside a kube-scheduler, and by the lease elsewhere") {
  World world;
  world.KubeScheduler("a_1");
  Replica follower(world, "a", true);
  follower.Activate();
  CHECK(follower.leadership.Tick() == 500ms);
  Replica other(world, "b", false);
  const auto pause = other.leadership.Tick();
  CHECK(pause >= 2s);
  CHECK(pause <= 4400ms);
}

}  // namespace
}  // namespace partage::app
