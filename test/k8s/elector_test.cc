// SPDX-License-Identifier: Apache-2.0
#include "k8s/leases/elector.h"

#include <ctime>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "k8s/leases/neighbour.h"
#include "test/support/fake_lease.h"
#include "test/support/manual_clock.h"

namespace partage::k8s {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using test::FakeLease;
using test::ManualClock;

// One elector over a lease that others may touch, too.
struct Rig {
  Elector::Options OptionsOf(const std::string& identity) const { return {.identity = identity, .predecessor = {}, .timings = {}}; }
  Elector Make(const std::string& identity) { return Elector(lease, OptionsOf(identity), clock, 1); }

  ManualClock clock;
  FakeLease lease;
};

TEST_CASE("Without a lease one is created, and renewed with transitions and acquire time kept") {
  Rig rig;
  Elector elector = rig.Make("a");
  CHECK(elector.Try() == 2s);
  REQUIRE(elector.tenure());
  CHECK(elector.tenure()->term == 1);
  CHECK(elector.tenure()->until == rig.clock.Now() + 10s);
  const auto first = *rig.lease.stored();
  CHECK(first.holder == "a");
  CHECK(first.duration == 15s);
  CHECK(first.transitions == 0);
  rig.clock.Advance(2s);
  CHECK(elector.Try() == 2s);
  const auto second = *rig.lease.stored();
  CHECK(second.acquire_time == first.acquire_time);
  CHECK(second.renew_time != first.renew_time);
  CHECK(second.transitions == 0);
  CHECK(elector.tenure()->term == 1);
  CHECK(elector.tenure()->until == rig.clock.Now() + 10s);
  CHECK(rig.lease.requests() == 3);  // GET, POST, then one PUT
}

TEST_CASE("A candidate waits the holder's duration after the last change it saw, whatever the wall clock says") {
  Rig rig;
  Elector a = rig.Make("a"), b = rig.Make("b");
  a.Try();
  b.Try();
  CHECK_FALSE(b.tenure());
  rig.clock.JumpWall(24h);
  rig.clock.Advance(14s);
  b.Try();
  CHECK_FALSE(b.tenure());
  rig.clock.Advance(1s);
  b.Try();
  REQUIRE(b.tenure());
  CHECK(rig.lease.stored()->holder == "b");
  CHECK(rig.lease.stored()->transitions == 1);
  CHECK_FALSE(a.tenure()->Lasts(rig.clock));
}

TEST_CASE("A candidate looks when the lease runs out, not up to four seconds later") {
  Rig rig;
  Elector a = rig.Make("a"), b = rig.Make("b");
  a.Try();
  milliseconds waited{0};
  while (!b.tenure()) {
    const auto pause = b.Try();
    if (b.tenure()) break;
    rig.clock.Advance(pause);
    waited += pause;
  }
  CHECK(waited >= 15s);
  CHECK(waited <= 16s);
}

TEST_CASE("Whoever has looked before has less to wait for") {
  Rig rig;
  Elector a = rig.Make("a"), b = rig.Make("b"), late = rig.Make("late");
  a.Try();
  b.Look();
  CHECK_FALSE(b.tenure());
  CHECK(b.holder() == "a");
  rig.clock.Advance(15s);
  late.Try();
  CHECK_FALSE(late.tenure());
  b.Try();
  CHECK(b.tenure());
}

TEST_CASE("A tenure counts from the begin of a renewal, not from its answer") {
  Rig rig;
  Elector elector = rig.Make("a");
  const auto begun = rig.clock.Now() + 3s;  // the GET takes as long, too
  rig.lease.before_reply = [&] { rig.clock.Advance(3s); };
  elector.Try();
  REQUIRE(elector.tenure());
  CHECK(elector.tenure()->until == begun + 10s);
}

TEST_CASE("A renewal whose answer comes after the deadline gives nothing") {
  Rig rig;
  Elector elector = rig.Make("a");
  elector.Try();
  rig.lease.before_reply = [&] { rig.clock.Advance(60s); };  // the process is stopped, and goes on
  elector.Try();
  REQUIRE(elector.tenure());
  CHECK_FALSE(elector.tenure()->Lasts(rig.clock));
}

TEST_CASE("A machine that slept finds its tenure ended until the next renewal, although its monotonic clock slept, too") {
  static std::chrono::nanoseconds since_boot;
  since_boot = 5h;
  Rig rig;
  auto options = rig.OptionsOf("a");
  options.boot_clock = [] { return since_boot; };
  Elector elector(rig.lease, options, rig.clock, 1);
  elector.Try();
  CHECK(elector.tenure()->Lasts(rig.clock));
  since_boot += 10s;
  CHECK_FALSE(elector.tenure()->Lasts(rig.clock));
  rig.clock.Advance(2s);
  elector.Try();
  CHECK(elector.tenure()->Lasts(rig.clock));
  CHECK(elector.tenure()->term == 1);
}

TEST_CASE("A wall clock that jumps changes nothing about a tenure") {
  Rig rig;
  Elector elector = rig.Make("a");
  elector.Try();
  for (const auto jump : {1h, -48h, 96h}) {
    rig.clock.JumpWall(jump);
    CHECK(elector.tenure()->Lasts(rig.clock));
  }
  rig.clock.Advance(10s);
  CHECK_FALSE(elector.tenure()->Lasts(rig.clock));
}

TEST_CASE("The time since boot moves, and is no less than that of the monotonic clock") {
  timespec monotonic{};
  REQUIRE(::clock_gettime(CLOCK_MONOTONIC, &monotonic) == 0);
  const auto before = TimeSinceBoot();
  CHECK(before >= std::chrono::seconds(monotonic.tv_sec));
  CHECK(TimeSinceBoot() > before);
}

TEST_CASE("A renewal refused with 409 is tried once more on the live record") {
  Rig rig;
  Elector elector = rig.Make("a");
  elector.Try();
  rig.lease.Touch();  // somebody labels the lease
  rig.clock.Advance(2s);
  elector.Try();
  CHECK(elector.tenure()->until == rig.clock.Now() + 10s);
  CHECK(elector.tenure()->term == 1);
  CHECK(elector.trouble().find("409") != std::string::npos);
}

TEST_CASE("An acquisition whose reply was lost is found out and counts from the next renewal") {
  Rig rig;
  Elector elector = rig.Make("a");
  rig.lease.fates = {FakeLease::Fate::kServe, FakeLease::Fate::kLoseReply};
  elector.Try();
  CHECK_FALSE(elector.tenure());
  CHECK(rig.lease.stored()->holder == "a");
  rig.clock.Advance(3s);
  elector.Try();
  REQUIRE(elector.tenure());
  CHECK(elector.tenure()->until == rig.clock.Now() + 10s);
}

TEST_CASE("A lapsed tenure is followed by another term, even when nobody else held the lease") {
  Rig rig;
  Elector elector = rig.Make("a");
  elector.Try();
  rig.clock.Advance(12s);
  elector.Try();
  REQUIRE(elector.tenure());
  CHECK(elector.tenure()->term == 2);
  CHECK(rig.lease.stored()->transitions == 0);
}

TEST_CASE("A released lease is another's at once") {
  Rig rig;
  Elector a = rig.Make("a"), b = rig.Make("b");
  a.Try();
  b.Try();
  REQUIRE(a.Release());
  CHECK_FALSE(a.tenure());
  CHECK(rig.lease.stored()->holder.empty());
  CHECK(rig.lease.stored()->duration == 1s);
  b.Try();
  CHECK(b.tenure());
}

TEST_CASE("A release that crosses another's acquisition takes nothing from it") {
  Rig rig;
  Elector a = rig.Make("a"), b = rig.Make("b");
  a.Try();
  b.Try();
  rig.clock.Advance(15s);
  b.Try();
  REQUIRE(b.tenure());
  const auto released = a.Release();
  REQUIRE_FALSE(released);
  CHECK(released.error().code == Code::kConflict);
  CHECK(rig.lease.stored()->holder == "b");
}

TEST_CASE("The lease of a process that had our address is taken at once, but only at the first look") {
  Rig rig;
  Elector before = rig.Make("host_8780_old");
  before.Try();
  auto options = rig.OptionsOf("host_8780_new");
  options.predecessor = "host_8780_";
  Elector after(rig.lease, options, rig.clock, 1);
  after.Try();
  REQUIRE(after.tenure());
  CHECK(rig.lease.stored()->transitions == 1);
  // Two that wrongly believe so do not take the lease from each other for ever.
  auto twin_options = rig.OptionsOf("host_8780_twin");
  twin_options.predecessor = "host_8780_";
  Elector twin(rig.lease, twin_options, rig.clock, 1);
  twin.Try();
  CHECK(twin.tenure());
  after.Try();
  CHECK_FALSE(after.tenure());
  before.Try();
  CHECK_FALSE(before.tenure());
  Elector stranger(rig.lease, rig.OptionsOf("host_8781_x"), rig.clock, 1);
  stranger.Try();
  CHECK_FALSE(stranger.tenure());
}

TEST_CASE("A lease deleted by hand is created again only by its holder until it would have run out") {
  Rig rig;
  Elector a = rig.Make("a"), b = rig.Make("b");
  a.Try();
  b.Try();
  rig.lease.Delete();
  b.Try();
  CHECK_FALSE(b.tenure());
  a.Try();
  REQUIRE(a.tenure());
  CHECK(a.tenure()->term == 2);
}

TEST_CASE("Timings that leave no room are refused with the names of the settings") {
  CHECK(Validate(LeaseTimings{}));
  CHECK(Validate({.duration = 10s, .renew_deadline = 10s}).error().message.find("leaseDuration") != std::string::npos);
  CHECK(Validate({.duration = 15s, .renew_deadline = 2s}).error().message.find("retryPeriod") != std::string::npos);
}

TEST_CASE("A neighbour holds a lease while the lease names its host and changes in time") {
  Rig rig;
  Neighbour neighbour(rig.lease, "host-1", rig.clock);
  CHECK_FALSE(neighbour.holds());
  rig.lease.Set({.holder = "host-1_uuid", .duration = 15s, .renew_time = "1"});
  neighbour.Look();
  CHECK(neighbour.holds());
  rig.clock.Advance(14s);
  rig.lease.fates = {FakeLease::Fate::kLoseRequest};
  neighbour.Look();
  CHECK(neighbour.holds());
  CHECK_FALSE(neighbour.trouble().empty());
  rig.clock.Advance(1s);
  CHECK_FALSE(neighbour.holds());
  rig.lease.Set({.holder = "host-1_uuid", .duration = 15s, .renew_time = "2"});
  neighbour.Look();
  CHECK(neighbour.holds());
  for (const char* other : {"host-10_uuid", "host-2_uuid", ""}) {
    rig.lease.Set({.holder = other, .duration = 15s, .renew_time = "3"});
    neighbour.Look();
    CHECK_FALSE(neighbour.holds());
  }
  rig.lease.Set({.holder = "host-1", .duration = 15s, .renew_time = "4"});
  neighbour.Look();
  CHECK(neighbour.holds());
  rig.lease.Delete();
  neighbour.Look();
  CHECK_FALSE(neighbour.holds());
}

// ---- Many electors, a world that fails them ----

// Electors in one true time: what one does takes time, and meanwhile the others go on. A request or its reply may be late or lost, a process may stand still
// anywhere in between, wall clocks jump, people delete nothing.
class World {
 public:
  explicit World(std::uint32_t seed) : dice_(seed) {
    for (int i = 0; i < 3; ++i) AddMember("m" + std::to_string(i));
  }

  void Run(milliseconds time) {
    const auto end = now_ + time;
    while (now_ < end) Pass(milliseconds(Roll(1, 300)));
  }
  void StopFaults() { faults_ = false; }
  int leaders() const {
    int count = 0;
    for (const auto& member : members_) count += Leads(*member);
    return count;
  }
  int terms_seen() const { return terms_seen_; }

 private:
  struct Member {
    Member(const std::string& identity, FakeLease& store, World& world, std::uint32_t seed)
        : api(store, world), elector(api, {.identity = identity, .predecessor = {}, .timings = {}}, clock, seed) {}

    // The store as one member reaches it.
    class Api final : public LeaseApi {
     public:
      Api(FakeLease& store, World& world) : store_(store), world_(world) {}
      std::string name() const override { return "world"; }
      Result<Lease> Get() override {
        return Call([this] { return store_.Get(); });
      }
      Result<Lease> Create(const Lease& lease) override {
        return Call([this, lease] { return store_.Create(lease); });
      }
      Result<Lease> Update(const Lease& lease) override {
        return Call([this, lease] { return store_.Update(lease); });
      }

     private:
      Result<Lease> Call(const std::function<Result<Lease>()>& request) {
        world_.Travel();
        if (world_.Happens(10)) {
          if (world_.Happens(50)) world_.late_.push_back([request] { (void)request(); });  // executed some time, the caller gone
          return Fail(Code::kUnknown, "reset");
        }
        auto answer = request();
        world_.Travel();
        if (world_.Happens(5)) return Fail(Code::kUnknown, "reset");
        return answer;
      }
      FakeLease& store_;
      World& world_;
    };

    ManualClock clock;
    Api api;
    Elector elector;
    milliseconds next{0};
    bool busy = false;       // in the middle of a Try
    std::uint64_t term = 0;  // the last one seen
    Clock::Mono acted_until{};
  };

  void AddMember(const std::string& identity) { members_.push_back(std::make_unique<Member>(identity, store_, *this, Roll(1, 1 << 20))); }

  int Roll(int from, int to) { return std::uniform_int_distribution<int>(from, to)(dice_); }
  bool Happens(int percent) { return faults_ && Roll(1, 100) <= percent; }
  static bool Leads(const Member& member) { return member.elector.tenure() && member.elector.tenure()->Lasts(member.clock); }

  // The way of a request or a reply; sometimes the process stands still meanwhile.
  void Travel() { Pass(milliseconds(Happens(4) ? Roll(5000, 40000) : Happens(20) ? Roll(100, 4000) : Roll(0, 30))); }

  void Pass(milliseconds time) {
    // In steps, so that whoever is due meanwhile acts at its time.
    while (time.count() > 0) {
      const auto step = std::min(time, milliseconds(50));
      time -= step;
      now_ += step;
      for (auto& member : members_) member->clock.Advance(step);
      Check();
      Act();
    }
  }

  void Act() {
    if (!late_.empty() && Happens(3)) {
      const auto request = late_.front();
      late_.erase(late_.begin());
      request();
    }
    for (auto& member : members_) {
      if (Happens(1)) member->clock.JumpWall(std::chrono::seconds(Roll(-100, 100)));
      if (member->busy || now_ < member->next) continue;
      member->busy = true;
      if (Happens(2)) {
        member->acted_until = {};  // nothing it began goes on
        (void)member->elector.Release();
      }
      const auto pause = member->elector.Try();
      member->next = now_ + pause + milliseconds(Happens(2) ? Roll(1000, 60000) : 0);
      member->busy = false;
      Check();
    }
  }

  // At most one leads; and a new one begins only when what the last one began has had its time.
  void Check() {
    REQUIRE(leaders() <= 1);
    for (auto& member : members_) {
      if (!Leads(*member)) continue;
      const auto& tenure = *member->elector.tenure();
      if (member->term != tenure.term) {
        member->term = tenure.term;
        ++terms_seen_;
        const auto margin = LeaseTimings{}.margin();
        for (const auto& other : members_) {
          if (other != member) REQUIRE((other->acted_until == Clock::Mono{} || other->acted_until + margin <= member->clock.Now()));
        }
      }
      member->acted_until = tenure.until;
    }
  }

  std::mt19937 dice_;
  FakeLease store_;
  milliseconds now_{0};
  bool faults_ = true;
  std::vector<std::function<void()>> late_;
  std::vector<std::unique_ptr<Member>> members_;
  int terms_seen_ = 0;
};

TEST_CASE(
    "No two ever lead at once, nor within the margin of one another, whatever is lost, late, stopped or jumps, and in peace one leads") {
  int terms = 0;
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    World world(seed);
    world.Run(600s);
    world.StopFaults();
    world.Run(120s);
    REQUIRE(world.leaders() == 1);
    terms += world.terms_seen();
  }
  CHECK(terms > 40 * 5);  // or nothing was tried
}

}  // namespace
}  // namespace partage::k8s
