// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/binder.h"

#include <thread>

#include <catch2/catch.hpp>

#include "device/allocation_codec.h"
#include "test/scheduler/extender/rig.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::Ask;
using test::Fate;
using test::Node;
using test::Ref;
using test::Rig;
using test::UnboundPod;

constexpr int kMib = 10000;
constexpr auto kGiantStep = 30s;  // towards a deadline

// One node with one GPU, one pod at the API server that filter has seen.
void Prepare(Rig& rig) { rig.With(Node("n1").Gpus(1, 81920)).With(UnboundPod("a", kMib)).Filtered("a", Ask(1).Mib(kMib), "n1"); }

device::Allocation AllocationOf(const k8s::Pod& pod) {
  return device::DecodeAllocation(pod.annotations.at(std::string(device::kAllocationAnnotation))).value();
}

TEST_CASE("A written Binding carries node and allocation at once and makes the share the pod's") {
  Rig rig;
  Prepare(rig);
  REQUIRE(rig.Bind("a", "n1"));
  REQUIRE(rig.api().writes().size() == 1);
  CHECK(rig.api().writes()[0].uid == "uid-of-a");
  const k8s::Pod live = rig.api().pod("default/a");
  CHECK(live.node_name == "n1");
  const device::Allocation allocation = AllocationOf(live);
  CHECK(allocation.node == "n1");
  REQUIRE(allocation.containers.at(0).shares.size() == 1);
  CHECK(allocation.containers[0].shares[0].mib == kMib);
  CHECK_FALSE(live.annotations.contains("hami.io/vgpu-node"));
  rig.CheckLedger(1, 0);
}

TEST_CASE("On a node with HAMi's inventory the same write carries HAMi's annotations") {
  Rig rig;
  rig.With(Node("n1").Gpus(1, 81920).Hami()).With(UnboundPod("a", kMib)).Filtered("a", Ask(1).Mib(kMib).Cores(30), "n1");
  REQUIRE(rig.Bind("a", "n1"));
  REQUIRE(rig.api().writes().size() == 1);
  const auto annotations = rig.api().pod("default/a").annotations;
  CHECK(annotations.contains("partage.dev/allocation"));
  CHECK(annotations.at("hami.io/vgpu-node") == "n1");
  CHECK(annotations.at("hami.io/bind-phase") == "allocating");
  CHECK(annotations.at("hami.io/vgpu-devices-to-allocate") == "n1-gpu0,NVIDIA,10000,30:;");
  CHECK(annotations.at("hami.io/vgpu-devices-allocated") == annotations.at("hami.io/vgpu-devices-to-allocate"));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(rig.clock().WallNow().time_since_epoch()).count();
  CHECK(std::stoll(annotations.at("hami.io/vgpu-time")) <= seconds);
  CHECK(annotations.at("hami.io/bind-time") == annotations.at("hami.io/vgpu-time"));
  CHECK(rig.api().writes().front().labels.at("hami.io/vgpu-node") == "n1");
}

// ---- The write is refused ----

TEST_CASE("A pod that somebody else bound elsewhere gives the share back") {
  Rig rig;
  Prepare(rig);
  k8s::Pod taken = UnboundPod("a", kMib);
  taken.node_name = "n2";
  rig.With(taken);
  const auto bound = rig.Bind("a", "n1");
  REQUIRE_FALSE(bound);
  CHECK(bound.error().code == Code::kConflict);
  CHECK_THAT(bound.error().message, Catch::Contains("bind pod default/a to node n1") && Catch::Contains("n2"));
  CHECK(rig.api().writes().size() == 1);
  rig.CheckLedger(0, 0);
}

TEST_CASE("A pod bound to our node with another allocation gives the share back") {
  Rig rig;
  Prepare(rig);
  k8s::Pod taken = UnboundPod("a", kMib);
  taken.node_name = "n1";
  taken.annotations["partage.dev/allocation"] = R"({"version":1,"node":"n1","containers":[]})";
  rig.With(taken);
  CHECK(rig.Bind("a", "n1").error().code == Code::kConflict);
  rig.CheckLedger(0, 0);
}

TEST_CASE("A pod that was recreated or is being deleted gives the share back") {
  k8s::Pod other = UnboundPod("a", kMib);
  SECTION("recreated") { other.uid = "another"; }
  SECTION("being deleted") { other.deleting = true; }
  Rig rig;
  Prepare(rig);
  rig.With(other);
  CHECK(rig.Bind("a", "n1").error().code == Code::kConflict);
  rig.CheckLedger(0, 0);
}

TEST_CASE("A conflict that cannot be looked into is held until it can") {
  Rig rig;
  Prepare(rig);
  k8s::Pod taken = UnboundPod("a", kMib);
  taken.node_name = "n2";
  rig.With(taken);
  rig.api().Reads({Fate::kLoseRequest, Fate::kLoseRequest});
  CHECK(rig.Bind("a", "n1").error().code == Code::kConflict);
  CHECK(rig.api().writes().size() == 1);
  rig.CheckLedger(0, 0);
}

TEST_CASE("A pod that is gone gives the share back") {
  Rig rig;
  Prepare(rig);
  rig.api().Remove("default/a");
  CHECK(rig.Bind("a", "n1").error().code == Code::kNotFound);
  rig.CheckLedger(0, 0);
}

TEST_CASE("A refused write gives the share back") {
  Rig rig;
  Prepare(rig);
  rig.api().Writes({Fate::kForbid});
  CHECK(rig.Bind("a", "n1").error().code == Code::kInvalid);
  CHECK(rig.api().writes().size() == 1);
  rig.CheckLedger(0, 0);
}

// ---- The write was not executed ----

TEST_CASE("A throttled write is tried again") {
  Rig rig;
  Prepare(rig);
  rig.api().Writes({Fate::kThrottle, Fate::kThrottle, Fate::kThrottle});
  CHECK(rig.Bind("a", "n1"));
  CHECK(rig.api().writes().size() == 4);
  rig.CheckLedger(1, 0);
}

TEST_CASE("A throttled write waits as long as the server asks") {
  Rig rig;
  Prepare(rig);
  rig.api().AskToWait(900ms);
  rig.api().Writes({Fate::kThrottle});
  REQUIRE(rig.Bind("a", "n1", 10ms));
  const auto times = rig.api().write_times();
  REQUIRE(times.size() == 2);
  CHECK(times[1] - times[0] >= 900ms);
}

TEST_CASE("A write that is throttled to the deadline gives the share back") {
  Rig rig;
  Prepare(rig);
  rig.api().Writes({}, Fate::kThrottle);
  auto answer = rig.Start("a", "n1");
  rig.PassTimeUntil([&] { return rig.api().writes().size() >= 2; });
  const auto bound = rig.Await(answer, kGiantStep);
  REQUIRE_FALSE(bound);
  CHECK(bound.error().code == Code::kUnavailable);
  CHECK_THAT(bound.error().message, Catch::Contains("429"));
  rig.CheckLedger(0, 0);
}

// ---- Nobody knows whether the write was executed ----

TEST_CASE("A lost reply of a write that happened is found by looking, without a second write") {
  Rig rig;
  Prepare(rig);
  rig.api().Writes({Fate::kLoseReply});
  CHECK(rig.Bind("a", "n1"));
  CHECK(rig.api().writes().size() == 1);
  rig.CheckLedger(1, 0);
}

TEST_CASE("A lost write that did not happen is written again, the very same") {
  Rig rig;
  Prepare(rig);
  rig.api().Writes({Fate::kLoseRequest});
  CHECK(rig.Bind("a", "n1"));
  const auto writes = rig.api().writes();
  REQUIRE(writes.size() == 2);
  CHECK(writes[0].annotations == writes[1].annotations);
  rig.CheckLedger(1, 0);
}

TEST_CASE("A write that is executed late wins against its own repetition") {
  Rig rig;
  Prepare(rig);
  rig.api().Writes({Fate::kComesLate});
  CHECK(rig.Bind("a", "n1"));
  CHECK(rig.api().writes().size() == 2);
  CHECK(rig.api().pod("default/a").node_name == "n1");
  rig.CheckLedger(1, 0);
}

TEST_CASE("After a lost write even a refusal is not taken for the truth") {
  Rig rig;
  Prepare(rig);
  rig.api().Writes({Fate::kComesLate, Fate::kForbid});
  CHECK(rig.Bind("a", "n1"));
  rig.CheckLedger(1, 0);
}

TEST_CASE("A pod deleted after a lost write gives the share back") {
  Rig rig;
  Prepare(rig);
  rig.api().Writes({}, Fate::kLoseRequest);
  auto answer = rig.Start("a", "n1");
  rig.api().AwaitWrites(1);
  SECTION("gone") { rig.api().Remove("default/a"); }
  SECTION("recreated") {
    k8s::Pod other = UnboundPod("a", kMib);
    other.uid = "another";
    rig.With(other);
  }
  CHECK(rig.Await(answer).error().code == Code::kNotFound);
  rig.CheckLedger(0, 0);
}

// Brings a bind to its deadline with its outcome unknown.
void LoseUntilDeadline(Rig& rig) {
  Prepare(rig);
  rig.api().Writes({}, Fate::kLoseRequest);
  auto answer = rig.Start("a", "n1");
  rig.api().AwaitWrites(1);
  const auto bound = rig.Await(answer, kGiantStep);
  REQUIRE_FALSE(bound);
  CHECK(bound.error().code == Code::kUnknown);
  rig.CheckLedger(0, 1);
}

TEST_CASE("An outcome unknown at the deadline holds the share, and is settled when the server is back") {
  Rig rig;
  LoseUntilDeadline(rig);
  CHECK(rig.Start("a", "n1").get().error().code == Code::kConflict);
  rig.api().Writes({});
  rig.PassTimeUntil([&] { return rig.cluster().counts().reserved == 0; });
  CHECK(rig.api().pod("default/a").node_name == "n1");
  rig.CheckLedger(1, 0);
}

TEST_CASE("An outcome unknown at the deadline is given back when the pod turns out to be gone") {
  Rig rig;
  LoseUntilDeadline(rig);
  rig.api().Remove("default/a");
  rig.PassTimeUntil([&] { return rig.cluster().counts().reserved == 0; });
  rig.CheckLedger(0, 0);
}

TEST_CASE("An outcome unknown at the deadline may be settled by a watch") {
  Rig rig;
  LoseUntilDeadline(rig);
  rig.api().Reads({}, Fate::kLoseRequest);
  const auto flying = rig.cluster().InFlight(Ref("a"));
  REQUIRE(flying);
  SECTION("as bound") {
    rig.cluster().ObservePod(test::Bound("a", *flying));
    rig.PassTimeUntil([&] { return rig.Start("a", "n1").get().error().message.find("already bound") != std::string::npos; });
    rig.CheckLedger(1, 0);
  }
  SECTION("as gone") {
    rig.cluster().ForgetPod(Ref("a"));
    rig.PassTimeUntil([&] { return rig.cluster().counts().reserved == 0; });
    rig.CheckLedger(0, 0);
  }
}

TEST_CASE("A call that hangs beyond the deadline is answered at the deadline and settled when it returns") {
  Rig rig;
  Prepare(rig);
  rig.api().Hold();
  auto answer = rig.Start("a", "n1");
  rig.api().AwaitHeldWrite();
  CHECK(rig.Await(answer, kGiantStep).error().code == Code::kUnknown);
  rig.CheckLedger(0, 1);
  rig.api().LetGo();
  rig.PassTimeUntil([&] { return rig.cluster().counts().reserved == 0; });
  rig.CheckLedger(1, 0);
}

// ---- Before the write ----

TEST_CASE("A pod that no filter of ours has seen is read, and bound by its own request") {
  Rig rig;
  rig.With(Node("n1").Gpus(1, 81920)).With(UnboundPod("a", kMib));
  REQUIRE(rig.Bind("a", "n1"));
  CHECK(AllocationOf(rig.api().pod("default/a")).containers.at(0).shares.at(0).mib == kMib);
  rig.CheckLedger(1, 0);
}

TEST_CASE("A pod that cannot be read is tried again until the deadline, and then nothing is written") {
  Rig rig;
  rig.With(Node("n1").Gpus(1, 81920)).With(UnboundPod("a", kMib));
  rig.api().Reads({}, Fate::kLoseRequest);
  CHECK(rig.Bind("a", "n1", kGiantStep).error().code == Code::kUnavailable);
  CHECK(rig.api().writes().empty());
  rig.CheckLedger(0, 0);
}

TEST_CASE("A pod that turns out to be unbindable is refused before any write") {
  k8s::Pod pod = UnboundPod("a", kMib);
  Code expected = Code::kConflict;
  SECTION("recreated") {
    pod.uid = "another";
    expected = Code::kNotFound;
  }
  SECTION("bound") { pod.node_name = "n1"; }
  SECTION("being deleted") { pod.deleting = true; }
  SECTION("asks for nonsense") {
    pod.containers[0].limits["nvidia.com/gpumem"] = "16Gi";
    expected = Code::kInvalid;
  }
  SECTION("does not fit") { pod.containers[0].limits["nvidia.com/gpumem"] = "81921"; }
  Rig rig;
  rig.With(Node("n1").Gpus(1, 81920)).With(pod);
  CHECK(rig.Bind("a", "n1").error().code == expected);
  CHECK(rig.api().writes().empty());
  rig.CheckLedger(0, 0);
}

TEST_CASE("A pod that asks for nothing of ours is bound plainly, to any node") {
  Rig rig;
  rig.With(UnboundPod("web", 0));
  REQUIRE(rig.Bind("web", "cpu-only"));
  CHECK(rig.api().pod("default/web").node_name == "cpu-only");
  CHECK(rig.api().pod("default/web").annotations.empty());
  rig.CheckLedger(0, 0);
}

TEST_CASE("A plain bind with a lost reply is looked into as well") {
  Rig rig;
  rig.With(UnboundPod("web", 0));
  rig.api().Writes({Fate::kLoseReply});
  CHECK(rig.Bind("web", "cpu-only"));
  CHECK(rig.api().writes().size() == 1);
}

TEST_CASE("An unknown node is refused") {
  Rig rig;
  Prepare(rig);
  CHECK(rig.Bind("a", "n9").error().code == Code::kNotFound);
  CHECK(rig.api().writes().empty());
}

// ---- The queue ----

TEST_CASE("A second bind of a pod in flight is refused") {
  Rig rig;
  Prepare(rig);
  rig.api().Hold();
  auto first = rig.Start("a", "n1");
  rig.api().AwaitHeldWrite();
  CHECK(rig.Start("a", "n1").get().error().code == Code::kConflict);
  rig.api().LetGo();
  CHECK(rig.Await(first));
  CHECK(rig.api().writes().size() == 1);
  rig.CheckLedger(1, 0);
}

TEST_CASE("A full queue refuses at once") {
  Rig rig({.workers = 1, .max_queue = 1, .deadline = test::kBindDeadline});
  Prepare(rig);
  rig.With(UnboundPod("b", kMib)).With(UnboundPod("c", kMib));
  rig.api().Hold();
  auto a = rig.Start("a", "n1");
  rig.api().AwaitHeldWrite();
  auto b = rig.Start("b", "n1");
  CHECK(rig.Start("c", "n1").get().error().code == Code::kUnavailable);
  rig.api().LetGo();
  CHECK(rig.Await(a));
  CHECK(rig.Await(b));
  rig.CheckLedger(2, 0);
}

TEST_CASE("A bind that waits in the queue past its deadline is never written") {
  Rig rig({.workers = 1, .deadline = test::kBindDeadline});
  Prepare(rig);
  rig.With(UnboundPod("b", kMib));
  rig.api().Hold();
  auto a = rig.Start("a", "n1");
  rig.api().AwaitHeldWrite();
  CHECK(rig.Bind("b", "n1", kGiantStep).error().code == Code::kUnavailable);
  CHECK(rig.Await(a).error().code == Code::kUnknown);
  rig.api().LetGo();
  rig.PassTimeUntil([&] { return rig.cluster().counts().reserved == 0; });
  CHECK(rig.api().writes().size() == 1);
  rig.CheckLedger(1, 0);
}

// ---- The end ----

TEST_CASE("Stop lets running binds finish and refuses new ones") {
  Rig rig({.workers = 1, .deadline = test::kBindDeadline});
  Prepare(rig);
  rig.With(UnboundPod("b", kMib)).With(UnboundPod("c", kMib));
  rig.api().Hold();
  auto a = rig.Start("a", "n1");
  rig.api().AwaitHeldWrite();
  auto b = rig.Start("b", "n1");
  std::jthread stopper([&] { rig.binder().Stop(10s); });
  CHECK(b.get().error().code == Code::kUnavailable);  // not begun: refused by Stop
  CHECK(rig.Start("c", "n1").get().error().code == Code::kUnavailable);
  rig.api().LetGo();
  CHECK(a.get());
  stopper.join();
  rig.binder().Stop(10s);
  rig.CheckLedger(1, 0);
}

TEST_CASE("Stop without grace answers what is owed and leaves unknown outcomes held") {
  Rig rig;
  Prepare(rig);
  rig.With(UnboundPod("b", kMib)).Filtered("b", Ask(1).Mib(kMib), "n1");
  rig.api().Writes({}, Fate::kLoseRequest);
  auto a = rig.Start("a", "n1");
  rig.api().AwaitWrites(1);
  rig.api().Writes({}, Fate::kThrottle);
  auto b = rig.Start("b", "n1");
  rig.api().AwaitPauses(2);  // before that, b's write may still be on its way, and its outcome is as unknown as a's
  rig.binder().Stop(0s);
  CHECK(a.get().error().code == Code::kUnknown);
  CHECK(b.get().error().code == Code::kUnavailable);
  rig.CheckLedger(0, 1);
}

}  // namespace
}  // namespace partage::scheduler
