// SPDX-License-Identifier: Apache-2.0
#include "scheduler/preemption/preemptor.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "metrics/catalog.h"
#include "test/scheduler/extender/scripted_api.h"
#include "test/scheduler/preemption/crowd.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::Crowd;
using test::Node;
using Evicted = ClusterApi::Evicted;
using Names = std::vector<std::string>;

class EventLog final : public EventSink {
 public:
  void Post(PodEvent event) override { events.push_back(event.pod.name + ": " + event.note); }
  Names events;
};

// Open in one term, or closed.
class TestFence final : public WriteFence {
 public:
  Result<Term> CurrentTerm() const override {
    if (term == 0) return Fail(Code::kUnavailable, "standby");
    return term;
  }
  Result<Permit> BeginWrite(Term asked) override {
    if (asked != term || writes_left-- <= 0) return Fail(Code::kUnavailable, "the term is over");
    return Permit(Clock::Mono::max(), nullptr);
  }
  Term term = 1;
  int writes_left = 1000;
};

/// Two nodes of one GPU of 1000 MiB; pods at the API server as the ledger has them.
class Cast {
 public:
  Cast() : api_(crowd_.clock()), preemptor_(crowd_.engine(), api_, events_, crowd_.clock(), {.fence = &fence_}, registry_) {
    crowd_.With(Node("n1").Gpu(1000)).With(Node("n2").Gpu(1000));
  }
  void Bind(const std::string& name, int mib, const std::string& node, std::int32_t priority, std::uint32_t created = 0) {
    REQUIRE(crowd_.Bind(name, test::Ask(1).Mib(mib), node, priority, created));
    PutLive(name, node);
  }
  void PutLive(const std::string& name, const std::string& node) {
    k8s::Pod pod;
    pod.ns = "default";
    pod.name = name;
    pod.uid = test::Ref(name).uid;
    pod.node_name = node;
    api_.Put(pod);
  }
  /// A pod that kube-scheduler asks about; true when it fits.
  bool Filter(const std::string& name, int mib, std::int32_t priority, bool never = false) {
    PutLive(name, "");
    return !crowd_.Filter(name, test::Ask(1).Mib(mib), priority, never).fitting.empty();
  }
  /// A pod "high" that waits, for which "a" on n1 may be evicted and nobody else.
  void OnlyVictimIsA() {
    Bind("a", 1000, "n1", 1);
    Bind("b", 1000, "n2", 20);
    REQUIRE_FALSE(Filter("high", 900, 10));
  }
  void TickAfter(std::chrono::milliseconds pause) {
    crowd_.clock().Advance(pause);
    crowd_.cluster().ExpireNominals();
    preemptor_.Tick();
  }
  void Gone(const std::string& name) {
    api_.Remove("default/" + name);
    crowd_.Gone(name);
  }
  void Protect(const std::string& name, bool in_dry_run = true) {
    api_.Evictions([=](const k8s::Eviction& eviction) -> std::optional<Result<Evicted>> {
      if (eviction.name == name && (in_dry_run || !eviction.dry_run)) return Evicted::kProtected;
      return std::nullopt;
    });
  }
  void AnswerAll(Result<Evicted> answer, bool dry_run) {
    api_.Evictions([=](const k8s::Eviction& eviction) { return eviction.dry_run == dry_run ? std::optional(answer) : std::nullopt; });
  }
  std::optional<std::string> Claimed(const std::string& name) { return crowd_.cluster().ClaimedNode(test::Ref(name)); }
  std::string Promised(const std::string& name) { return api_.pod("default/" + name).nominated_node; }
  int Counted(const metrics::Desc& desc) {
    const std::string all = registry_.Expose();
    const auto line = all.find(fmt::format("\n{} ", desc.name));
    return line == all.npos ? 0 : std::stoi(all.substr(line + desc.name.size() + 2));
  }
  Names Asked() { return api_.evictions(true); }
  Names Sent() { return api_.evictions(false); }
  ~Cast() { CHECK(crowd_.cluster().CheckInvariants().has_value()); }

  Crowd crowd_;
  test::ScriptedApi api_;
  EventLog events_;
  TestFence fence_;
  metrics::Registry registry_;
  Preemptor preemptor_;
};

TEST_CASE_METHOD(Cast, "A pod whose quota was used up after its filter evicts nobody, and no budget is blamed") {
  Bind("a", 800, "n1", 1);
  Bind("b", 800, "n2", 1);
  REQUIRE_FALSE(Filter("high", 900, 10));
  crowd_.cluster().ObserveQuota({.ns = "default",
                                 .name = "q",
                                 .resource_version = 1,
                                 .limits = {{"limits.nvidia.com/gpumem", "nvidia", QuotaLimit::Of::kMemory, 500}},
                                 .scopes = {},
                                 .error = {}});
  TickAfter(0s);
  CHECK(Asked().empty());
  CHECK(events_.events.empty());
  CHECK_FALSE(Claimed("high").has_value());
  CHECK(Counted(metrics::kPreemptionProtected) == 0);
  CHECK(registry_.Expose().find("outcome=\"lost\"} 1") != std::string::npos);
  crowd_.cluster().ObserveQuota({.ns = "default", .name = "q", .resource_version = 2, .limits = {}, .scopes = {}, .error = {}});
  TickAfter(3s);
  CHECK(Claimed("high").has_value());
}

TEST_CASE_METHOD(Cast, "A pod that is gone while its victims are asked to leave costs no further victim") {
  for (const auto* name : {"a", "b"}) Bind(name, 400, "n1", 1);
  Bind("c", 1000, "n2", 20);
  REQUIRE_FALSE(Filter("high", 1000, 10));
  api_.Evictions([&](const k8s::Eviction& eviction) -> std::optional<Result<Evicted>> {
    if (!eviction.dry_run) crowd_.Gone("high");
    return std::nullopt;
  });
  TickAfter(0s);
  CHECK(Asked().size() == 2);
  CHECK(Sent().size() == 1);
  CHECK(preemptor_.pending() == 0);
}

TEST_CASE_METHOD(Cast, "A refused pod of higher priority gets the share of the lowest, once that pod is gone") {
  Bind("a", 800, "n1", 5);
  Bind("b", 800, "n2", 1);
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(0s);
  CHECK(Asked() == Names{"b"});
  CHECK(Sent() == Names{"b"});
  CHECK(Claimed("high") == "n2");
  CHECK(preemptor_.pending() == 1);
  CHECK(Names(events_.events) == Names{"b: Preempted by pod default/high on node n2",
                                       "high: Preempting pods of lower priority on node n2; their share is held for this pod"});
  for (int i = 0; i < 100; ++i) TickAfter(1s);
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(1s);
  CHECK(Sent() == Names{"b"});
  Gone("b");
  CHECK_FALSE(Filter("thief", 500, 0));
  CHECK(crowd_.engine().NodeWorthRetrying({"n2"}) == "n2");
  CHECK(Filter("high", 900, 10));
  CHECK(crowd_.cluster().NominalNode(test::Ref("high")) == "n2");
  TickAfter(1s);
  CHECK(preemptor_.pending() == 0);
}

TEST_CASE_METHOD(Cast, "Nobody is evicted for a pod that never preempts, or that is no more important") {
  Bind("a", 800, "n1", 5);
  Bind("b", 800, "n2", 5);
  REQUIRE_FALSE(Filter("never", 900, 10, true));
  REQUIRE_FALSE(Filter("equal", 900, 5));
  for (int i = 0; i < 10; ++i) TickAfter(10s);
  CHECK(Asked().empty());
  CHECK(Sent().empty());
}

TEST_CASE_METHOD(Cast, "Nobody is evicted where kube-scheduler would not let the pod run") {
  Bind("a", 800, "n1", 1);
  Bind("b", 800, "n2", 5);
  PutLive("high", "");
  auto input = test::Input("high", test::Ask(1).Mib(900));
  input.pod.priority = 10;
  const std::vector<std::string_view> candidates = {"n2"};
  REQUIRE(crowd_.engine().Filter(input, candidates).fitting.empty());
  TickAfter(0s);
  CHECK(Sent() == Names{"b"});
}

TEST_CASE_METHOD(Cast,
                 "Where a budget protects the best victim the next best is taken, and nobody dies for a set that is protected in part") {
  Bind("a1", 500, "n1", 2);
  Bind("a2", 500, "n1", 1);
  Bind("b1", 500, "n2", 3);
  Bind("b2", 500, "n2", 3);
  Protect("a2");
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(0s);
  CHECK(Claimed("high") == "n2");
  auto sent = Sent();
  std::sort(sent.begin(), sent.end());
  CHECK(sent == Names{"b1", "b2"});
  CHECK(Counted(metrics::kPreemptionProtected) == 1);
  CHECK(Counted(metrics::kPreemptionVictims) == 2);
}

TEST_CASE_METHOD(Cast, "Where every victim is protected nobody is evicted, and the pod is tried again ever more rarely") {
  Bind("a", 1000, "n1", 1);
  Bind("b", 1000, "n2", 1);
  AnswerAll(Evicted::kProtected, true);
  REQUIRE_FALSE(Filter("high", 900, 10));
  for (int i = 0; i < 600; ++i) TickAfter(100ms);
  CHECK(Sent().empty());
  CHECK(Asked().size() >= 8);
  CHECK(Asked().size() <= 12);
  CHECK_FALSE(Claimed("high"));
  AnswerAll(Evicted::kYes, true);
  for (int i = 0; i < 600; ++i) TickAfter(100ms);
  CHECK(Sent().size() == 1);
}

TEST_CASE_METHOD(Cast, "A budget that only the second real eviction meets: others are chosen, and the first counts as going") {
  Bind("a1", 500, "n1", 1);
  Bind("a2", 500, "n1", 1);
  Bind("a3", 300, "n2", 1);
  Bind("b", 700, "n2", 20);
  bool first = true;
  api_.Evictions([&](const k8s::Eviction& eviction) -> std::optional<Result<Evicted>> {
    if (eviction.dry_run || std::exchange(first, false)) return std::nullopt;
    return Evicted::kProtected;
  });
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(0s);
  CHECK(Counted(metrics::kPreemptionVictims) == 1);
  CHECK_FALSE(Claimed("high"));
  // Half of the room on n1 comes free anyway: one more victim is enough once its budget allows.
  api_.Evictions(nullptr);
  for (int i = 0; i < 30; ++i) TickAfter(100ms);
  CHECK(Counted(metrics::kPreemptionVictims) == 2);
  CHECK(Claimed("high") == "n1");
}

TEST_CASE_METHOD(Cast, "A server that is busy or broken costs nobody his place") {
  Bind("a", 1000, "n1", 1);
  Bind("b", 1000, "n2", 1);
  REQUIRE_FALSE(Filter("high", 900, 10));
  SECTION("asked") {
    AnswerAll(Fail(Code::kUnavailable, "429"), true);
    TickAfter(0s);
    CHECK(Sent().empty());
  }
  SECTION("forbidden") {
    AnswerAll(Fail(Code::kInvalid, "403"), true);
    TickAfter(0s);
    CHECK(Sent().empty());
  }
  SECTION("told") {
    AnswerAll(Fail(Code::kUnavailable, "429"), false);
    TickAfter(0s);
    CHECK(Sent().size() == 1);
  }
  CHECK_FALSE(Claimed("high"));
  CHECK(preemptor_.pending() == 0);
  CHECK(Counted(metrics::kPreemptionVictims) == 0);
  api_.Evictions(nullptr);
  for (int i = 0; i < 30; ++i) TickAfter(100ms);
  CHECK(Claimed("high"));
  CHECK(Counted(metrics::kPreemptionVictims) == 1);
}

TEST_CASE_METHOD(Cast, "An eviction whose answer is lost is sent again until it is known") {
  Bind("a", 1000, "n1", 1);
  REQUIRE(Filter("other", 1000, 20));
  AnswerAll(Fail(Code::kUnknown, "connection reset"), false);
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(0s);
  CHECK(Claimed("high") == "n1");
  TickAfter(100ms);
  CHECK(Sent() == Names{"a", "a"});
  SECTION("it had arrived") { AnswerAll(Evicted::kGone, false); }
  SECTION("it had not") { AnswerAll(Evicted::kYes, false); }
  TickAfter(100ms);
  TickAfter(100ms);
  CHECK(Sent().size() == 3);
  Gone("a");
  CHECK(Filter("high", 900, 10));
}

TEST_CASE_METHOD(Cast, "A victim is told the node even if the preemptor is bound while its eviction is answered") {
  OnlyVictimIsA();
  bool answered = true;
  SECTION("at first") {}
  SECTION("when it is sent again") {
    AnswerAll(Fail(Code::kUnknown, "connection reset"), false);
    answered = false;
  }
  if (!answered) TickAfter(0s);
  api_.Evictions([&](const k8s::Eviction& eviction) -> std::optional<Result<Evicted>> {
    if (!eviction.dry_run) crowd_.cluster().DropClaim(test::Ref("high"));
    return std::nullopt;
  });
  TickAfter(100ms);
  REQUIRE_FALSE(Claimed("high").has_value());
  CHECK(std::ranges::count(events_.events, "a: Preempted by pod default/high on node n1") == 1);
}

TEST_CASE_METHOD(Cast, "Nobody is evicted for a pod that is bound, deleted or another one by now") {
  Bind("a", 1000, "n1", 1);
  Bind("b", 1000, "n2", 1);
  REQUIRE_FALSE(Filter("high", 900, 10));
  SECTION("bound") { PutLive("high", "elsewhere"); }
  SECTION("gone") { api_.Remove("default/high"); }
  SECTION("being deleted") {
    auto pod = api_.pod("default/high");
    pod.deleting = true;
    api_.Put(pod);
  }
  SECTION("another") {
    auto pod = api_.pod("default/high");
    pod.uid = "new";
    api_.Put(pod);
  }
  TickAfter(0s);
  CHECK(Sent().empty());
  CHECK_FALSE(Claimed("high"));
}

TEST_CASE_METHOD(Cast, "A replica that may not write evicts nobody, not even when it loses the lease in between") {
  Bind("a", 500, "n1", 1);
  Bind("b", 500, "n1", 1);
  Bind("c", 1000, "n2", 20);
  REQUIRE_FALSE(Filter("high", 900, 10));
  SECTION("standby") { fence_.term = 0; }
  SECTION("before the first") { fence_.writes_left = 2; }
  TickAfter(0s);
  CHECK(Sent().empty());
  CHECK_FALSE(Claimed("high"));
}

TEST_CASE_METHOD(Cast, "Room that its pod does not come for is given back after a while") {
  OnlyVictimIsA();
  TickAfter(0s);
  for (int i = 0; i < 300; ++i) TickAfter(1s);
  CHECK(Claimed("high") == "n1");
  Gone("a");
  TickAfter(59s);
  CHECK_FALSE(Filter("low", 500, 1));
  TickAfter(2s);
  CHECK(Filter("low", 500, 1));
}

TEST_CASE_METHOD(Cast, "For a pod that did not come for its room nobody else is evicted before its next filter") {
  OnlyVictimIsA();
  TickAfter(0s);
  Gone("a");
  for (int i = 0; i < 70; ++i) TickAfter(1s);
  REQUIRE_FALSE(Claimed("high"));
  Bind("low", 500, "n1", 1);
  for (int i = 0; i < 200; ++i) TickAfter(1s);
  CHECK(Sent() == Names{"a"});
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(1s);
  CHECK(Sent() == Names{"a", "low"});
}

TEST_CASE_METHOD(Cast, "A preemptor that goes away gives its claim back at once") {
  OnlyVictimIsA();
  TickAfter(0s);
  Gone("a");
  Gone("high");
  CHECK(Filter("low", 500, 1));
  TickAfter(1s);
  CHECK(preemptor_.pending() == 0);
}

TEST_CASE_METHOD(Cast, "The most important pod comes first, and tries keep their distance") {
  Bind("a", 1000, "n1", 1);
  Bind("b", 1000, "n2", 2);
  REQUIRE_FALSE(Filter("middle", 900, 10));
  REQUIRE_FALSE(Filter("top", 900, 11));
  TickAfter(0s);
  CHECK(Claimed("top") == "n1");
  CHECK_FALSE(Claimed("middle"));
  TickAfter(100ms);
  CHECK_FALSE(Claimed("middle"));
  TickAfter(200ms);
  CHECK(Claimed("middle") == "n2");
}

TEST_CASE_METHOD(Cast, "Where nodes have come or gone since a pod's filter, nobody is evicted before its next") {
  Bind("a", 1000, "n1", 1);
  Bind("b", 1000, "n2", 1);
  REQUIRE_FALSE(Filter("high", 900, 10));
  crowd_.With(Node("n3").Gpu(100));
  TickAfter(0s);
  CHECK(Sent().empty());
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(1s);
  CHECK(Sent().size() == 1);
}

TEST_CASE_METHOD(Cast, "A preemptor is promised its node before anybody is asked to leave, and the promise ends with the claim") {
  OnlyVictimIsA();
  api_.FailNominations(Error{Code::kUnavailable, "429"});
  TickAfter(0s);
  CHECK(Sent().empty());
  CHECK_FALSE(Claimed("high"));
  api_.FailNominations(std::nullopt);
  TickAfter(3s);
  CHECK(Sent() == Names{"a"});
  CHECK(Promised("high") == "n1");
  SECTION("it gets the room") {
    Gone("a");
    CHECK_FALSE(crowd_.Filter("high", test::Ask(1).Mib(900), 10).fitting.empty());
    TickAfter(1s);
    CHECK(preemptor_.pending() == 0);
    CHECK(Promised("high") == "n1");
  }
  SECTION("it does not come for it") {
    Gone("a");
    TickAfter(1s);
    CHECK(Promised("high") == "n1");
    TickAfter(61s);
    CHECK(Promised("high") == "");
  }
  SECTION("its victim does not go") {
    for (int i = 0; i < 31; ++i) TickAfter(59s);
    CHECK(Promised("high") == "");
    CHECK_FALSE(Claimed("high"));
  }
}

TEST_CASE_METHOD(Cast, "A promise that a budget breaks is taken back") {
  Bind("a", 1000, "n1", 1);
  Bind("b", 1000, "n2", 20);
  Protect("a");
  api_.Evictions(
      [](const k8s::Eviction& eviction) { return eviction.dry_run ? std::nullopt : std::optional(Result<Evicted>(Evicted::kProtected)); });
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(0s);
  CHECK(Sent() == Names{"a"});
  CHECK(Promised("high") == "");
  CHECK_FALSE(Claimed("high"));
}

TEST_CASE_METHOD(Cast, "Where the role does not allow to promise a node, room is made all the same") {
  OnlyVictimIsA();
  api_.FailNominations(Error{Code::kInvalid, "403"});
  TickAfter(0s);
  CHECK(Sent() == Names{"a"});
  CHECK(Claimed("high") == "n1");
}

/// What a replica knows that takes over while "a" is leaving n1 for "high", which has been promised that node.
class Successor : public Cast {
 public:
  Successor() {
    Bind("a", 1000, "n1", 1);
    Bind("b", 1000, "n2", 1);
    crowd_.cluster().NoteEvicted(PodUid(test::Ref("a").uid));
    PutLive("high", "");
  }
  void ReadPromise(const std::string& node = "n1", bool by_partage = true) {
    auto high = test::Ref("high");
    high.priority = 10;
    crowd_.engine().Nominated({high, node, *test::Input("high", test::Ask(1).Mib(900)).request, by_partage});
  }
};

TEST_CASE_METHOD(Successor,
                 "A replica that takes over keeps the room for whom it was promised, for as long as it takes, and evicts nobody again") {
  ReadPromise();
  TickAfter(0s);
  CHECK(preemptor_.pending() == 1);
  for (int i = 0; i < 300; ++i) TickAfter(1s);
  REQUIRE_FALSE(Filter("high", 900, 10));
  TickAfter(1s);
  CHECK(Claimed("high") == "n1");
  CHECK(Asked().empty());
  Gone("a");
  CHECK_FALSE(Filter("thief", 500, 9));
  CHECK(Filter("high", 900, 10));
}

TEST_CASE_METHOD(Successor, "A promise that another replica wrote is taken back when its claim ends, kube-scheduler's own is not") {
  const bool by_partage = GENERATE(true, false);
  AnswerAll(Evicted::kProtected, true);  // or it is promised another room at once
  ReadPromise("n1", by_partage);
  TickAfter(0s);
  REQUIRE_FALSE(Filter("high", 900, 10));
  REQUIRE(api_.Nominate({"default", "high", test::Ref("high").uid, "n1"}));
  for (int i = 0; i < 31; ++i) TickAfter(59s);
  CHECK_FALSE(Claimed("high"));
  CHECK(Promised("high") == (by_partage ? "" : "n1"));
}

TEST_CASE_METHOD(Successor, "A promise that is read is charged to the quota of its priority class, and kept only where that leaves room") {
  const auto limit = [this](std::int64_t mib, std::uint64_t version) {
    crowd_.cluster().ObserveQuota({.ns = "default",
                                   .name = "urgent",
                                   .resource_version = version,
                                   .limits = {{"limits.nvidia.com/gpumem", "nvidia", QuotaLimit::Of::kMemory, mib}},
                                   .scopes = {{QuotaScope::Trait::kPriorityClass, false, {"urgent"}}},
                                   .error = {}});
  };
  const auto urgent = [](const std::string& name, std::int32_t mib) {
    auto request = **test::Input(name, test::Ask(1).Mib(mib)).request;
    request.quota_traits.priority_class = "urgent";
    return std::make_shared<const device::PodRequest>(request);
  };
  limit(899, 1);
  crowd_.engine().Nominated({test::Ref("high"), "n1", urgent("high", 900)});
  CHECK_FALSE(Claimed("high").has_value());
  limit(1000, 2);
  crowd_.engine().Nominated({test::Ref("high"), "n1", urgent("high", 900)});
  CHECK(Claimed("high") == "n1");
  CHECK(crowd_.cluster().QuotaRefusal("default", *urgent("other", 101)).has_value());
  CHECK_FALSE(crowd_.cluster().QuotaRefusal("default", *urgent("other", 100)).has_value());
  CHECK_FALSE(crowd_.cluster().QuotaRefusal("default", **test::Input("plain", test::Ask(1).Mib(5000)).request).has_value());
}

TEST_CASE_METHOD(Successor, "A promise read before its victims is kept too, once all has been read and this replica may write") {
  auto& engine = crowd_.engine();
  fence_.term = 0;
  engine.BeginRead();
  ReadPromise("n2");
  fence_.term = 2;
  TickAfter(0s);
  CHECK_FALSE(Claimed("high"));
  crowd_.cluster().NoteEvicted(PodUid(test::Ref("b").uid));
  engine.EndRead();
  TickAfter(100ms);
  CHECK(Claimed("high") == "n2");
  CHECK(preemptor_.pending() == 1);
}

TEST_CASE_METHOD(Successor, "A promise that nobody is leaving for holds nothing, and one of a pod that is bound by now is forgotten") {
  auto& engine = crowd_.engine();
  SECTION("nobody leaves") { ReadPromise("n2"); }
  SECTION("bound") {
    engine.BeginRead();
    engine.EndRead();
    crowd_.Gone("a");
    REQUIRE(crowd_.Bind("other", test::Ask(1).Mib(500), "n1", 1));
    ReadPromise();
    engine.Forget(test::Ref("high").uid);
  }
  TickAfter(0s);
  CHECK_FALSE(Claimed("high"));
  CHECK(preemptor_.pending() == 0);
}

}  // namespace
}  // namespace partage::scheduler
