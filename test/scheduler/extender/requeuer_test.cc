// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/requeuer.h"

#include <catch2/catch.hpp>

#include "test/scheduler/extender/rig.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::Ask;
using test::Node;
using test::Ref;
using test::Rig;

// Two nodes of one GPU, each taken whole by a bound pod, and a Requeuer that ticks only when told.
class Full {
 public:
  Full() : requeuer_(rig_.engine(), rig_.api(), rig_.clock(), {}, rig_.registry()) {
    for (const std::string node : {"n1", "n2"}) {
      rig_.With(Node(node).Gpus(1, 81920));
      const std::string pod = "holder-" + node;
      rig_.With(test::UnboundPod(pod, 81920)).Filtered(pod, Ask(1).Mib(81920), node);
      REQUIRE(rig_.Bind(pod, node));
    }
    // The nodes themselves are news at first; let that be looked at, and the interval pass.
    Tick();
    TickAfter(10s);
    rig_.clock().Advance(10s);
    REQUIRE(Patches() == 0);
  }

  bool Filter(const std::string& pod, const Ask& ask) {
    const std::vector<std::string_view> candidates = {"n1", "n2"};
    return !rig_.engine().Filter(test::Input(pod, ask), candidates).fitting.empty();
  }
  void Free(const std::string& node) { rig_.cluster().ForgetPod(Ref("holder-" + node)); }
  void Tick() {
    rig_.cluster().Publish();
    requeuer_.Tick();
  }
  void TickAfter(std::chrono::milliseconds pause) {
    rig_.clock().Advance(pause);
    Tick();
  }
  std::size_t Patches() { return rig_.api().annotations().size(); }
  Rig& rig() { return rig_; }
  Requeuer& requeuer() { return requeuer_; }

 private:
  Rig rig_;
  Requeuer requeuer_;
};

TEST_CASE("A freed share that a waiting pod could take patches that node once") {
  Full full;
  REQUIRE_FALSE(full.Filter("waiting", Ask(1).Mib(1000)));
  full.TickAfter(1s);
  CHECK(full.Patches() == 0);
  full.Free("n2");
  full.Tick();
  REQUIRE(full.Patches() == 1);
  CHECK(full.rig().api().annotations()[0].node == "n2");
  CHECK(full.rig().api().annotations()[0].key == kRequeueAnnotation);
  CHECK_THAT(full.rig().api().annotations()[0].value, Catch::Matches("....-..-..T..:..:..[.]...Z"));
  for (int i = 0; i < 30; ++i) full.TickAfter(1s);
  CHECK(full.Patches() == 1);
}

TEST_CASE("A freed share that is too small for every waiting pod patches nothing") {
  Full full;
  REQUIRE_FALSE(full.Filter("waiting", Ask(2).Mib(1000)));
  full.Free("n1");
  for (int i = 0; i < 5; ++i) full.TickAfter(1s);
  CHECK(full.Patches() == 0);
}

TEST_CASE("A quota that comes to leave room patches a node for the pod it held back, wherever there is room") {
  Rig rig;
  Requeuer requeuer(rig.engine(), rig.api(), rig.clock(), {}, rig.registry());
  rig.With(Node("n1").Gpus(1, 81920)).With(Node("n2").Gpus(1, 81920));
  const auto allow = [&](std::int64_t mib) {
    rig.cluster().ObserveQuota({.ns = "default",
                                .name = "q",
                                .limits = {{"limits.nvidia.com/gpumem", "nvidia", QuotaLimit::Of::kMemory, mib}},
                                .scopes = {},
                                .error = ""});
  };
  allow(1000);
  const auto tick = [&] {
    rig.clock().Advance(1s);
    requeuer.Tick();
    return rig.api().annotations().size();
  };
  for (int i = 0; i < 5; ++i) (void)tick();
  const std::vector<std::string_view> candidates = {"n1"};
  REQUIRE(rig.engine().Filter(test::Input("waiting", Ask(1).Mib(2000)), candidates).fitting.empty());
  REQUIRE(tick() == 0);
  allow(1999);
  CHECK(tick() == 0);
  allow(2000);
  CHECK(tick() == 1);
  CHECK(tick() == 1);
}

TEST_CASE("Nothing is patched while nobody waits") {
  Full full;
  full.Free("n1");
  for (int i = 0; i < 5; ++i) full.TickAfter(1s);
  CHECK(full.Patches() == 0);
}

TEST_CASE("A pod whose refusal was still on its way when the share came free is retried too") {
  Full full;
  full.Free("n1");
  full.Tick();
  const std::vector<std::string_view> judged_before = {"n2"};
  REQUIRE(full.rig().engine().Filter(test::Input("waiting", Ask(1).Mib(1000)), judged_before).fitting.empty());
  full.TickAfter(500ms);
  CHECK(full.Patches() == 1);
}

TEST_CASE("Shares that keep coming free are answered by at most one patch an interval") {
  Full full;
  full.Free("n1");
  full.rig().cluster().Publish();
  for (int i = 0; i < 100; ++i) {
    REQUIRE(full.Filter("passing", Ask(1).Mib(81920)));
    REQUIRE_FALSE(full.Filter("waiting", Ask(1).Mib(81920)));
    full.rig().cluster().DropNominal(Ref("passing"));
    full.TickAfter(100ms);
  }
  CHECK(full.Patches() == 25);  // ten seconds, one in 400 ms
}

TEST_CASE("A patch that fails is tried again until it succeeds") {
  Full full;
  REQUIRE_FALSE(full.Filter("waiting", Ask(1).Mib(1000)));
  full.Free("n1");
  full.rig().api().FailAnnotations(Error{Code::kUnknown, "connection reset"});
  for (int i = 0; i < 20; ++i) full.TickAfter(1s);
  CHECK(full.Patches() == 0);
  full.rig().api().FailAnnotations(std::nullopt);
  full.TickAfter(1s);
  CHECK(full.Patches() == 1);
}

TEST_CASE("A node that is gone by the time of the patch gives way to the next") {
  Full full;
  REQUIRE_FALSE(full.Filter("waiting", Ask(1).Mib(1000)));
  full.Free("n1");
  full.Free("n2");
  full.rig().api().FailAnnotations(Error{Code::kNotFound, "nodes \"n1\" not found"});
  full.Tick();
  full.rig().api().FailAnnotations(std::nullopt);
  full.TickAfter(500ms);
  REQUIRE(full.Patches() == 1);
  CHECK(full.rig().api().annotations()[0].node == "n2");
}

TEST_CASE("A nominal share that is never bound ends, and wakes who waits for it") {
  Full full;
  full.Free("n1");
  full.rig().cluster().Publish();
  REQUIRE(full.Filter("lucky", Ask(1).Mib(81920)));
  REQUIRE_FALSE(full.Filter("waiting", Ask(1).Mib(81920)));
  full.TickAfter(5s);
  CHECK(full.Patches() == 0);
  full.TickAfter(11s);
  CHECK(full.rig().cluster().counts().nominal == 0);
  CHECK(full.Patches() == 1);
}

TEST_CASE("The thread does what Tick does, and stops") {
  Full full;
  REQUIRE_FALSE(full.Filter("waiting", Ask(1).Mib(1000)));
  full.Free("n1");
  full.rig().cluster().Publish();
  full.requeuer().Start();
  full.rig().PassTimeUntil([&] { return full.Patches() > 0; });
  full.requeuer().Stop();
  full.requeuer().Stop();
  CHECK(full.Patches() == 1);
}

}  // namespace
}  // namespace partage::scheduler
