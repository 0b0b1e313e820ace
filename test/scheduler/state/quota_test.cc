// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <map>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "k8s/api/decode.h"
#include "scheduler/state/cluster.h"
#include "scheduler/state/quota_feed.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using Catch::Contains;
using test::Ask;
using test::ManualClock;
using test::Node;
using test::Ref;

const vendors::Catalog kVendors = vendors::Catalog::Embedded();

QuotaObservation Quota(const std::string& hard, const std::string& rest = "") {
  const auto text = R"({"metadata":{"name":"q","namespace":"default"},"spec":{"hard":{)" + hard + "}" + rest + "}}";
  const auto quota = k8s::DecodeResourceQuotaText(text);
  REQUIRE(quota);
  return Observe(*quota, kVendors);
}

QuotaObservation MemoryQuota(std::int64_t mib, const std::string& name = "q") {
  auto quota = Quota(fmt::format(R"("limits.nvidia.com/gpumem":"{}")", mib));
  quota.name = name;
  return quota;
}

/// Shares of `mib` on the first `count` devices of the node.
Cluster::Placer OnFirst(std::size_t count, int mib, int cores = 0) {
  return [=](const Block& block, std::uint32_t row) -> Result<device::Allocation> {
    const NodeInfo& info = *(*block.infos)[row];
    device::Allocation allocation{.node = info.name, .containers = {{.name = "main", .vendor = "nvidia", .shares = {}}}};
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t d = block.rows[row].first + static_cast<std::uint32_t>(i);
      if (block.free_slots[d] < 1 || block.free_mib[d] < mib || block.free_cores[d] < cores) return Fail(Code::kConflict, "full");
      allocation.containers[0].shares.push_back({info.inventory.devices[i].uuid, mib, cores});
    }
    return allocation;
  };
}

struct Fixture {
  ManualClock clock;
  Cluster cluster{clock};

  Fixture() { cluster.ObserveNode(Node("n1").Gpus(2, 100'000)); }
  Result<> Nominate(const std::string& name, std::size_t count, int mib, const device::QuotaTraits& traits = {}) {
    return cluster.Nominate(Ref(name), "n1", std::chrono::seconds(10), OnFirst(count, mib), traits);
  }
  std::int64_t Used(std::string_view quota = "q") const {
    std::int64_t used = -1;
    cluster.VisitQuotas([&](const QuotaLedger::Entry& entry) { used = entry.name == quota ? entry.used : used; });
    return used;
  }
  void CheckSound() const {
    const auto sound = cluster.CheckInvariants();
    INFO((sound ? "" : sound.error().message));
    CHECK(sound.has_value());
  }
};

// ---- Reading ----

TEST_CASE("Amounts are whole numbers of MiB and percent, as the API server writes them back") {
  const auto quota = Quota(R"("limits.nvidia.com/gpumem":"2M","limits.nvidia.com/gpucores":"3k","requests.nvidia.com/gpu":"4","pods":"7")");
  CHECK(quota.error == "");
  REQUIRE(quota.limits.size() == 2);
  CHECK(quota.limits[0] == QuotaLimit{"limits.nvidia.com/gpumem", "nvidia", QuotaLimit::Of::kMemory, 2'000'000});
  CHECK(quota.limits[1] == QuotaLimit{"limits.nvidia.com/gpucores", "nvidia", QuotaLimit::Of::kCores, 3000});
  CHECK(Quota(R"("requests.nvidia.com/gpu":"4","limits.cpu":"8")").limits.empty());
}

TEST_CASE("An amount that can only be bytes, is negative or no number is told with the way out") {
  CHECK(Quota(R"("limits.nvidia.com/gpumem":"16Gi")").error ==
        R"(limits.nvidia.com/gpumem "16Gi" is not a number of MiB; did you mean 16384?)");
  CHECK_THAT(Quota(R"("limits.nvidia.com/gpumem":"17179869184")").error, Contains("did you mean 16384?"));
  CHECK_THAT(Quota(R"("limits.nvidia.com/gpumem":"-1")").error, Contains("is negative; 0 allows none"));
  CHECK_THAT(Quota(R"("limits.nvidia.com/gpucores":"500m")").error, Contains("give a whole number"));
}

TEST_CASE("Scopes are read in both spellings, and one that nobody knows closes the quota") {
  const std::string hard = R"("limits.nvidia.com/gpumem":"10")";
  const auto plain = Quota(hard, R"(,"scopes":["NotTerminating","BestEffort"])");
  REQUIRE(plain.scopes.size() == 2);
  CHECK(plain.scopes[0] == QuotaScope{QuotaScope::Trait::kTerminating, true, {}});
  CHECK(plain.scopes[1] == QuotaScope{QuotaScope::Trait::kBestEffort, false, {}});
  const auto selected =
      Quota(hard, R"(,"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"NotIn","values":["high","low"]}]})");
  REQUIRE(selected.scopes.size() == 1);
  CHECK(selected.scopes[0] == QuotaScope{QuotaScope::Trait::kPriorityClass, true, {"high", "low"}});
  CHECK_THAT(Quota(hard, R"(,"scopes":["Weekends"])").error, Contains(R"(scope "Weekends")"));
}

TEST_CASE("What scopes ask of a pod is read from its spec and status") {
  const auto pod = k8s::DecodePodText(R"({"metadata":{"name":"a"},"spec":{"activeDeadlineSeconds":60,"priorityClassName":"high",
    "affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"podAffinityTerm":{"namespaceSelector":{}}}]}}},
    "status":{"qosClass":"BestEffort"}})");
  REQUIRE(pod);
  CHECK(QuotaTraitsOf(*pod) == device::QuotaTraits{true, true, true, "high"});
  const auto plain = k8s::DecodePodText(
      R"({"metadata":{"name":"a"},"spec":{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"namespaces":[]}]}}},
          "status":{"qosClass":"Burstable"}})");
  REQUIRE(plain);
  CHECK(QuotaTraitsOf(*plain) == device::QuotaTraits{});
}

// ---- Counting ----

TEST_CASE_METHOD(Fixture, "Two GPUs of 2048 MiB count 4096, to the MiB") {
  cluster.ObserveQuota(MemoryQuota(4095));
  const auto refused = Nominate("a", 2, 2048);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kInvalid);
  CHECK(refused.error().message ==
        "ResourceQuota default/q: limits.nvidia.com/gpumem allows 4095 MiB in all, this pod alone asks for 4096");
  cluster.ObserveQuota(MemoryQuota(4096));
  CHECK(Nominate("a", 2, 2048));
  CHECK(Used() == 4096);
  const auto second = Nominate("b", 1, 1);
  REQUIRE_FALSE(second);
  CHECK(second.error().message == "ResourceQuota default/q: of the 4096 MiB that limits.nvidia.com/gpumem allows too little is left for 1");
  CheckSound();
}

TEST_CASE_METHOD(Fixture, "All quotas of a namespace bind, in whatever order they came, and none of another namespace") {
  cluster.ObserveQuota(MemoryQuota(5000, "wide"));
  cluster.ObserveQuota(MemoryQuota(1000, "narrow"));
  cluster.ObserveQuota(MemoryQuota(3000, "middle"));
  auto elsewhere = MemoryQuota(0, "none");
  elsewhere.ns = "other";
  cluster.ObserveQuota(elsewhere);
  CHECK(Nominate("a", 1, 1000));
  CHECK_FALSE(Nominate("b", 1, 1));
  cluster.ForgetQuota("default", "narrow");
  CHECK(Nominate("b", 1, 2000));
  CHECK_FALSE(Nominate("c", 1, 1));
}

TEST_CASE_METHOD(Fixture, "0 allows none, and what a pod does not take is not refused for") {
  cluster.ObserveQuota(Quota(R"("limits.nvidia.com/gpucores":"0")"));
  CHECK(Nominate("a", 1, 1000));
  CHECK_FALSE(cluster.Nominate(Ref("b"), "n1", std::chrono::seconds(10), OnFirst(1, 10, 1)));
}

TEST_CASE_METHOD(Fixture, "A quota that cannot be read hands out nothing more until it is corrected") {
  cluster.ObserveQuota(Quota(R"("limits.nvidia.com/gpumem":"16Gi")"));
  const auto refused = Nominate("a", 1, 1);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, Contains("did you mean 16384?; until it is corrected nothing more is handed out in this namespace"));
  cluster.ObserveQuota(MemoryQuota(16384));
  CHECK(Nominate("a", 1, 1));
}

TEST_CASE_METHOD(Fixture, "A quota that comes late counts the pods that are there, by their traits") {
  const device::QuotaTraits high{.priority_class = "high"};
  CHECK(Nominate("a", 1, 100, high));
  CHECK(Nominate("b", 1, 30));
  auto quota = MemoryQuota(200);
  quota.scopes = {{QuotaScope::Trait::kPriorityClass, false, {"high"}}};
  cluster.ObserveQuota(quota);
  CHECK(Used() == 100);
  CHECK_FALSE(Nominate("c", 1, 101, high));
  CHECK(Nominate("c", 1, 100, high));
  CHECK(Nominate("d", 1, 5000));
  quota.scopes[0].negated = true;
  cluster.ObserveQuota(quota);
  CHECK(Used() == 5030);
  CheckSound();
}

TEST_CASE_METHOD(Fixture, "What a pod takes is counted once from its nomination to its end, and told as freed then") {
  cluster.ObserveQuota(MemoryQuota(1000));
  (void)cluster.TakeFreedQuota();
  CHECK(Nominate("a", 1, 600));
  CHECK_FALSE(cluster.TakeFreedQuota());
  auto reservation = cluster.Reserve(Ref("a"), "n1", OnFirst(1, 600));
  REQUIRE(reservation);
  CHECK(Used() == 600);
  const auto allocation = reservation->allocation();
  reservation->Commit();
  auto seen = test::Bound("a", allocation);
  seen.quota_usage = device::UsageByVendor(allocation);
  (void)cluster.TakeFreedQuota();
  cluster.ObservePod(seen);
  CHECK(Used() == 600);
  CHECK_FALSE(cluster.TakeFreedQuota());
  cluster.ForgetPod(Ref("a"));
  CHECK(Used() == 0);
  CHECK(cluster.TakeFreedQuota());
  CheckSound();
}

TEST_CASE_METHOD(Fixture, "A full list without a quota ends it") {
  cluster.ObserveQuota(MemoryQuota(0, "gone"));
  cluster.ObserveQuota(MemoryQuota(50, "stays"));
  cluster.BeginQuotaList();
  cluster.ObserveQuota(MemoryQuota(50, "stays"));
  cluster.EndQuotaList();
  CHECK(Nominate("a", 1, 50));
  CHECK_FALSE(Nominate("b", 1, 1));
}

TEST_CASE_METHOD(Fixture, "Init containers count by their peak, as on the devices, and devices of several vendors each for their own") {
  device::Allocation allocation{.node = "n1", .containers = {}};
  allocation.containers.push_back({"warm-up", device::ContainerKind::kInit, -1, "nvidia", {{"n1-gpu0", 900, 10}}});
  allocation.containers.push_back({"main", device::ContainerKind::kApp, -1, "nvidia", {{"n1-gpu0", 600, 20}, {"n1-gpu1", 600, 20}}});
  allocation.containers.push_back({"other", device::ContainerKind::kApp, -1, "acme", {{"acme-0", 7, 5}}});
  CHECK(device::UsageByVendor(allocation) == std::vector<device::VendorUsage>{{"acme", 7, 5}, {"nvidia", 1500, 40}});
  auto seen = test::Bound("a", allocation);
  seen.quota_usage = device::UsageByVendor(allocation);
  cluster.ObserveQuota(MemoryQuota(5000));
  cluster.ObservePod(seen);
  CHECK(Used() == 1500);
  CheckSound();
  cluster.ForgetPod(Ref("a"));
  CHECK(Used() == 0);
  CheckSound();
}

TEST_CASE("The least a request can come to leaves out what depends on the card") {
  const device::PodRequest request = Ask().Init(1).Mib(500).App(2).Mib(300).Cores(10).App(1).Percent(50).Cores(5);
  CHECK(device::LeastUsageByVendor(request) == std::vector<device::VendorUsage>{{"nvidia", 600, 25}});
}

// ---- Whatever happens ----

/// Pods of two kinds come and go under quotas that change; the sums are told independently.
class History {
 public:
  explicit History(unsigned seed) : random_(seed) {
    for (int n = 0; n < 3; ++n) cluster_.ObserveNode(Node(fmt::format("n{}", n)).Gpus(2, 1000));
  }

  void Step() {
    const int pod = Below(10);
    const auto ref = Ref(fmt::format("p{}", pod));
    const auto node = fmt::format("n{}", Below(3));
    switch (Below(7)) {
      case 0: cluster_.ObserveQuota(MemoryQuota(100 * Below(20), fmt::format("q{}", Below(2)))); break;
      case 1: cluster_.ForgetQuota("default", fmt::format("q{}", Below(2))); break;
      case 2: cluster_.DropNominal(ref); break;
      case 3: reservations_.erase(pod); break;
      case 4: Judge([&] { return cluster_.Nominate(ref, node, std::chrono::seconds(5), OnFirst(1, 100 * (1 + Below(5)))); }); break;
      case 5:
        clock_.Advance(std::chrono::seconds(Below(3)));
        cluster_.ExpireNominals();
        break;
      default: Reserve(pod, node);
    }
    cluster_.Publish();
  }

  void Check() const {
    const auto sound = cluster_.CheckInvariants();
    INFO((sound ? "" : sound.error().message));
    REQUIRE(sound.has_value());
    const auto snapshot = cluster_.snapshot();
    std::int64_t held = 0;
    for (const NodeId id : snapshot->index->ordered()) held += snapshot->row(id).used.mib;
    cluster_.VisitQuotas([&](const QuotaLedger::Entry& entry) { REQUIRE(entry.used == held); });
  }

 private:
  int Below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  // A decision never passes a limit, whatever was taken before the limit came.
  template <class F>
  void Judge(F decide) {
    std::map<std::string, std::int64_t> over;
    cluster_.VisitQuotas([&](const QuotaLedger::Entry& entry) { over[std::string(entry.name)] = std::max(entry.used, entry.most); });
    (void)decide();
    cluster_.VisitQuotas([&](const QuotaLedger::Entry& entry) { REQUIRE(entry.used <= over.at(std::string(entry.name))); });
  }

  void Reserve(int pod, const std::string& node) {
    Judge([&] {
      auto reservation = cluster_.Reserve(Ref(fmt::format("p{}", pod)), node, OnFirst(1, 100 * (1 + Below(5))));
      if (reservation) reservations_.emplace(pod, std::move(*reservation));
      return 0;
    });
  }

  std::mt19937 random_;
  ManualClock clock_;
  Cluster cluster_{clock_};
  std::map<int, Reservation> reservations_;
};

TEST_CASE("Whatever pods and quotas do, no decision passes a limit and the sums are what the devices hold") {
  const unsigned base = std::random_device{}();
  for (unsigned round = 0; round < 60; ++round) {
    INFO("seed " << base + round);
    History history(base + round);
    for (int step = 0; step < 150; ++step) {
      history.Step();
      history.Check();
    }
  }
}

TEST_CASE("A burst from many threads fills a quota to the last MiB and never passes it") {
  ManualClock clock;
  Cluster cluster(clock);
  for (int n = 0; n < 8; ++n) cluster.ObserveNode(Node(fmt::format("n{}", n)).Gpus(1, 100'000));
  cluster.ObserveQuota(MemoryQuota(10 * 700 + 699));
  std::atomic<int> held{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          auto reservation = cluster.Reserve(Ref(fmt::format("p{}-{}", t, i)), fmt::format("n{}", t), OnFirst(1, 700));
          if (!reservation) continue;
          reservation->Commit();
          ++held;
        }
      });
    }
  }
  CHECK(held == 10);
  CHECK(cluster.CheckInvariants().has_value());
}

}  // namespace
}  // namespace partage::scheduler
