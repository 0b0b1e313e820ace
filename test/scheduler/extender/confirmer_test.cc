// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/confirmer.h"

#include <catch2/catch.hpp>

#include "test/scheduler/extender/rig.h"

namespace partage::scheduler {
namespace {

using test::Ask;
using test::Fate;
using test::Node;
using test::Ref;
using test::Rig;
using test::UnboundPod;

/// Two pods bound while a full list is read that names neither.
class Missed {
 public:
  Missed() : confirmer_(rig_.cluster(), rig_.api()) {
    rig_.With(Node("n1").Gpus(1, 81920));
    rig_.cluster().BeginPodList();
    for (const std::string pod : {"a", "b"}) {
      rig_.With(UnboundPod(pod, 1000)).Filtered(pod, Ask(1).Mib(1000), "n1");
      REQUIRE(rig_.Bind(pod, "n1"));
    }
    rig_.cluster().EndPodList();
    confirmer_.Tick();
    REQUIRE(rig_.api().reads() == 0);
    rig_.CheckLedger(2, 0);
  }

 protected:
  Rig rig_;
  Confirmer confirmer_;
};

TEST_CASE_METHOD(Missed, "A pod that was bound and gone before a full list gives its share back, another keeps it") {
  rig_.api().Remove("default/a");
  confirmer_.Tick();
  rig_.CheckLedger(1, 0);
  CHECK(rig_.cluster().DoubtfulPods().pods.empty());
  const auto reads = rig_.api().reads();
  confirmer_.Tick();
  CHECK(rig_.api().reads() == reads);
}

TEST_CASE_METHOD(Missed, "A pod whose name another has by now is gone") {
  auto successor = UnboundPod("a", 1000);
  successor.uid = "uid-of-its-successor";
  rig_.api().Put(successor);
  confirmer_.Tick();
  rig_.CheckLedger(1, 0);
}

TEST_CASE_METHOD(Missed, "While the API server does not answer the share is held, and it is asked again") {
  rig_.api().Remove("default/a");
  rig_.api().Reads({Fate::kLoseReply, Fate::kLoseReply});
  confirmer_.Tick();
  CHECK(rig_.api().reads() == 1);
  confirmer_.Tick();
  rig_.CheckLedger(2, 0);
  confirmer_.Tick();
  rig_.CheckLedger(1, 0);
}

TEST_CASE_METHOD(Missed, "Who is told of by a watch in time is not asked about") {
  for (const std::string pod : {"a", "b"}) rig_.cluster().ForgetPod(Ref(pod));
  confirmer_.Tick();
  CHECK(rig_.api().reads() == 0);
}

}  // namespace
}  // namespace partage::scheduler
