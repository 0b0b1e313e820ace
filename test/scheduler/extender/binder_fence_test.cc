// SPDX-License-Identifier: Apache-2.0
// A Binder whose replica may lose the lease at any moment.
#include <atomic>

#include <catch2/catch.hpp>

#include "test/scheduler/extender/rig.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::Ask;
using test::Fate;
using test::Node;
using test::Rig;
using test::UnboundPod;

constexpr int kMib = 10000;

// Open for one term, or closed.
class ScriptedFence final : public WriteFence {
 public:
  Result<Term> CurrentTerm() const override {
    if (term_ == 0) return Fail(Code::kUnavailable, "another replica is active");
    return term_.load();
  }
  Result<Permit> BeginWrite(Term term) override {
    if (asked_++ == close_at_) term_ = 0;
    if (term_ != term) return Fail(Code::kUnavailable, "the lease was lost");
    ++permits_;
    return Permit(send_by, [this] { --permits_; });
  }

  void Open(Term term) { term_ = term; }
  void Close() { term_ = 0; }
  bool closed() const { return term_ == 0; }
  void CloseAtWrite(int number) { close_at_ = number; }
  int permits() const { return permits_; }
  Clock::Mono send_by = Clock::Mono::max();

 private:
  std::atomic<Term> term_{1};
  std::atomic<int> permits_{0}, asked_{0}, close_at_{-1};
};

struct FencedRig {
  FencedRig() : rig({.workers = 4, .deadline = test::kBindDeadline, .fence = &fence}) {
    rig.With(Node("n1").Gpus(1, 81920)).With(UnboundPod("a", kMib)).Filtered("a", Ask(1).Mib(kMib), "n1");
  }
  /// A bind whose request is lost, and then the lease.
  std::future<Result<>> LoseRequestAndLease() {
    rig.api().Writes({Fate::kLoseRequest});
    fence.CloseAtWrite(1);
    auto answer = rig.Start("a", "n1");
    rig.PassTimeUntil([&] { return fence.closed(); });
    rig.CheckLedger(0, 1);
    return answer;
  }
  void CheckSettled(std::size_t bound) {
    rig.PassTimeUntil([&] { return fence.permits() == 0; });
    rig.CheckLedger(bound, 0);
  }
  /// It is given up, but no sooner than a lost request is too old to be executed.
  void CheckGivenUp(std::future<Result<>>& answer) {
    REQUIRE_FALSE(rig.Await(answer));
    CHECK(rig.clock().Now() >= begun + 120s);
    CHECK(rig.api().writes().size() == 1);
  }
  ScriptedFence fence;
  Rig rig;
  const Clock::Mono begun = rig.clock().Now();
};

TEST_CASE("A replica that is not active reserves and writes nothing") {
  FencedRig fenced;
  fenced.fence.Close();
  const auto bound = fenced.rig.Bind("a", "n1");
  REQUIRE_FALSE(bound);
  CHECK(bound.error().code == Code::kUnavailable);
  CHECK_THAT(bound.error().message, Catch::Contains("another replica is active"));
  CHECK(fenced.rig.api().writes().empty());
  fenced.rig.CheckLedger(0, 0);
}

TEST_CASE("A lease lost between the reservation and the write gives the share back, and nothing is sent") {
  FencedRig fenced;
  fenced.fence.CloseAtWrite(0);
  const auto bound = fenced.rig.Bind("a", "n1");
  REQUIRE_FALSE(bound);
  CHECK_THAT(bound.error().message, Catch::Contains("bind pod default/a to node n1") && Catch::Contains("the lease was lost"));
  CHECK(fenced.rig.api().writes().empty());
  CHECK(fenced.fence.permits() == 0);
  fenced.rig.CheckLedger(0, 0);
}

TEST_CASE("A write carries the moment after which it must not be sent, and its permit ends with it") {
  FencedRig fenced;
  fenced.fence.send_by = fenced.rig.clock().Now() + 5s;
  REQUIRE(fenced.rig.Bind("a", "n1"));
  CHECK(fenced.rig.api().writes().at(0).send_by == fenced.fence.send_by);
  CHECK(fenced.fence.permits() == 0);
  fenced.rig.CheckLedger(1, 0);
}

TEST_CASE("A share taken in one term is not written in the next: others may have given it away in between") {
  FencedRig fenced;
  fenced.rig.api().Writes({Fate::kThrottle});
  auto answer = fenced.rig.Start("a", "n1");
  fenced.rig.api().AwaitWrites(1);
  fenced.fence.Open(2);
  const auto bound = fenced.rig.Await(answer);
  REQUIRE_FALSE(bound);
  CHECK(fenced.rig.api().writes().size() == 1);
  fenced.rig.CheckLedger(0, 0);
}

TEST_CASE("A lost reply is looked after, not written again, when the lease is lost, the permit stays until it is settled") {
  FencedRig fenced;
  fenced.rig.api().Writes({Fate::kLoseReply});
  fenced.rig.api().Reads({Fate::kLoseReply, Fate::kLoseReply});
  fenced.fence.CloseAtWrite(1);
  auto answer = fenced.rig.Start("a", "n1");
  fenced.rig.api().AwaitWrites(1);
  CHECK(fenced.fence.permits() == 1);
  REQUIRE(fenced.rig.Await(answer));
  CHECK(fenced.rig.api().writes().size() == 1);
  fenced.CheckSettled(1);
}

TEST_CASE("A lost request holds its share after the lease is lost, until it is too old to be executed") {
  FencedRig fenced;
  auto answer = fenced.LoseRequestAndLease();
  fenced.rig.PassTimeUntil([&] { return fenced.rig.clock().Now() >= fenced.begun + 100s; });
  fenced.rig.CheckLedger(0, 1);
  CHECK(fenced.fence.permits() == 1);
  fenced.CheckGivenUp(answer);
  fenced.CheckSettled(0);
}

TEST_CASE("A lost request is made again in a new term if the share it held still fits") {
  FencedRig fenced;
  auto answer = fenced.LoseRequestAndLease();
  fenced.fence.Open(2);
  REQUIRE(fenced.rig.Await(answer));
  CHECK(fenced.rig.clock().Now() < fenced.begun + 100s);
  const auto writes = fenced.rig.api().writes();
  REQUIRE(writes.size() == 2);
  CHECK(writes[0].annotations == writes[1].annotations);
  fenced.CheckSettled(1);
}

TEST_CASE("A lost request is not made again in a new term if its share was given to another meanwhile") {
  FencedRig fenced;
  auto answer = fenced.LoseRequestAndLease();
  auto given = fenced.rig.cluster().InFlight(test::Ref("a")).value();
  given.containers.at(0).shares.at(0).mib = 81920 - kMib + 1;
  fenced.rig.cluster().ObservePod(test::Bound("b", given));
  fenced.fence.Open(2);
  fenced.CheckGivenUp(answer);
  fenced.CheckSettled(1);
}

TEST_CASE("A binder that ends with a write of unknown fate leaves its permit taken, so that the lease must run out") {
  ScriptedFence fence;
  {
    Rig rig({.workers = 1, .deadline = test::kBindDeadline, .fence = &fence});
    rig.With(Node("n1").Gpus(1, 81920)).With(UnboundPod("a", kMib)).Filtered("a", Ask(1).Mib(kMib), "n1");
    rig.api().Writes({}, Fate::kLoseRequest);
    auto answer = rig.Start("a", "n1");
    rig.api().AwaitWrites(1);
    rig.binder().Stop(0ms);
    CHECK_FALSE(answer.get());
  }
  CHECK(fence.permits() == 1);
}

}  // namespace
}  // namespace partage::scheduler
