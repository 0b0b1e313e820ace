// SPDX-License-Identifier: Apache-2.0
// The Binder over real HTTP: what the scripted API server of the unit tests assumes of the client, seen with sockets that break.
#include <atomic>
#include <future>

#include <catch2/catch.hpp>

#include "device/allocation_codec.h"
#include "scheduler/extender/binder.h"
#include "test/support/builders.h"
#include "test/support/fake_api_server.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::ApiCall;
using test::FakeApiServer;
using test::Fault;
using test::Kind;
using test::Node;
using test::Verb;

class Wired {
 public:
  Wired() : cluster_(clock_) {
    cluster_.ObserveNode(Node("n1").Gpus(1, 81920));
    cluster_.Publish();
    api_.Put(Kind::kPods, R"({"metadata":{"name":"a","namespace":"default","uid":"uid-of-a"},"spec":{"containers":[
      {"name":"main","resources":{"limits":{"nvidia.com/gpu":"1","nvidia.com/gpumem":"8000"}}}]},"status":{"phase":"Pending"}})");
  }

  /// The next Bindings meet these faults, one each.
  void Faults(std::vector<Fault> faults) {
    api_.OnCall([this, faults = std::move(faults)](const ApiCall& call) {
      if (call.verb != Verb::kBind) return Fault{};
      const std::size_t turn = binds_++;
      return turn < faults.size() ? faults[turn] : Fault{};
    });
  }

  Result<> Bind() {
    auto answer = std::make_shared<std::promise<Result<>>>();
    auto bound = answer->get_future();
    binder_.Bind(test::Ref("a"), "n1", [answer](Result<> result) { answer->set_value(std::move(result)); });
    return bound.get();
  }

  void CheckBoundOnce() {
    const auto pod = *api_.Get(Kind::kPods, "default/a");
    CHECK(pod["spec"]["nodeName"] == "n1");
    const auto allocation = device::DecodeAllocation(pod["metadata"]["annotations"]["partage.dev/allocation"].get<std::string>());
    REQUIRE(allocation);
    CHECK(allocation->containers.at(0).shares.at(0).mib == 8000);
    CHECK(api_.Writes() == 1);
    CheckLedger(1);
  }
  void CheckLedger(std::size_t bound) {
    CHECK(cluster_.counts().pods_bound == bound);
    CHECK(cluster_.counts().reserved == 0);
    CHECK(cluster_.CheckInvariants());
  }

  FakeApiServer& api() { return api_; }

 private:
  SystemClock clock_;
  FakeApiServer api_;
  std::atomic<std::size_t> binds_{0};
  Cluster cluster_;
  Probe probe_;
  std::unique_ptr<Engine> engine_ = Engine::Make(cluster_, clock_, {}, probe_).value();
  const vendors::Catalog catalog_ = vendors::Catalog::Embedded();
  std::unique_ptr<k8s::Client> client_ = k8s::Client::Make({.server = api_.url(), .request_timeout = 300ms}, clock_).value();
  std::unique_ptr<ClusterApi> cluster_api_ = MakeKubeClusterApi(*client_);
  metrics::Registry registry_;
  Binder binder_{*engine_, *cluster_api_, catalog_, clock_, {.workers = 2}, registry_};
};

TEST_CASE("Binding over HTTP is one write") {
  Wired wired;
  REQUIRE(wired.Bind());
  CHECK(wired.api().Calls(Verb::kBind) == 1);
  wired.CheckBoundOnce();
}

TEST_CASE("Whatever happens to the connection, the pod is bound once") {
  const auto [name, fault] = GENERATE(table<std::string, Fault>({
      {"lost request", {.close_before = true}},
      {"lost reply", {.close_after = true}},
      {"reset before", {.close_before = true, .reset = true}},
      {"reset after", {.close_after = true, .reset = true}},
      {"reply too late", {.reply_latency = 500ms}},
      {"500", {.status = 500}},
      {"503", {.status = 503}},
      {"429", {.status = 429}},
  }));
  INFO(name);
  Wired wired;
  wired.Faults({fault});
  CHECK(wired.Bind());
  wired.CheckBoundOnce();
}

TEST_CASE("A throttling server is asked again when it wished") {
  Wired wired;
  wired.Faults({{.status = 429, .retry_after_s = 1}});
  const auto began = std::chrono::steady_clock::now();
  CHECK(wired.Bind());
  CHECK(std::chrono::steady_clock::now() - began >= 1s);
  wired.CheckBoundOnce();
}

TEST_CASE("A refusal over HTTP changes nothing") {
  Wired wired;
  Code expected = Code::kInvalid;
  SECTION("forbidden") { wired.Faults({{.status = 403}}); }
  SECTION("gone") {
    wired.api().Remove(Kind::kPods, "default/a");
    expected = Code::kNotFound;
  }
  SECTION("bound elsewhere") {
    wired.api().Patch(Kind::kPods, "default/a", {{"spec", {{"nodeName", "n2"}}}});
    expected = Code::kConflict;
  }
  const auto bound = wired.Bind();
  REQUIRE_FALSE(bound);
  CHECK(bound.error().code == expected);
  wired.CheckLedger(0);
}

}  // namespace
}  // namespace partage::scheduler
