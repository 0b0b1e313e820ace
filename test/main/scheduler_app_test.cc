// SPDX-License-Identifier: Apache-2.0
// The whole scheduler in this process, against a fake API server over real sockets.
#include "main/scheduler_app.h"

#include <thread>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "cli/http.h"
#include "cli/manifest.h"
#include "cli/scheduling_cycle.h"
#include "cli/state_view.h"
#include "device/allocation_codec.h"
#include "test/support/fake_api_server.h"
#include "test/support/temp_folder.h"

namespace partage::app {
namespace {

using namespace std::chrono_literals;
using test::FakeApiServer;

constexpr const char* kNode = R"({"metadata":{"name":"n1","annotations":{"partage.dev/inventory":
  "{\"version\":1,\"devices\":[{\"uuid\":\"GPU-a\",\"model\":\"NVIDIA L4\",\"memoryMiB\":20000}]}"}}})";

template <class Done>
bool Eventually(const Done& done) {
  for (const auto until = std::chrono::steady_clock::now() + 20s; !done(); std::this_thread::sleep_for(2ms)) {
    if (std::chrono::steady_clock::now() > until) return false;
  }
  return true;
}

/// A pod of 5,000 MiB and its document for the API server.
cli::ManifestPod PodNamed(const std::string& name) {
  const std::string yaml = fmt::format(
      "{{kind: Pod, metadata: {{name: {}, namespace: team, uid: uid-{}}}, spec: {{containers: [{{name: main, resources: {{limits: "
      "{{nvidia.com/gpumem: 5000}}}}}}]}}}}",
      name, name);
  return cli::ParseManifests(yaml, "test").value().at(0);
}

/// The scheduler over `api`.
class Running {
 public:
  explicit Running(const FakeApiServer& api) {
    SchedulerConfig config;
    config.source = {ClusterSourceConfig::Kind::kKubeconfig, folder_.Write("kubeconfig", Kubeconfig(api.url()))};
    config.listen.port = config.metrics_listen.port = 0;
    app_ = SchedulerApp::Make(std::move(config)).value();
    REQUIRE(app_->Start().has_value());
  }

  SchedulerApp& app() { return *app_; }
  bool WaitReady() {
    return Eventually([&] { return app_->ready(); });
  }
  int Status(const std::string& path) { return At(app_->metrics_port()).Get(path).value().status; }
  Result<cli::CycleOutcome> TrySchedule(const cli::ManifestPod& pod) {
    auto extender = At(app_->extender_port());
    return cli::Schedule(extender, pod, {"n1"});
  }
  cli::CycleOutcome Schedule(const cli::ManifestPod& pod) { return TrySchedule(pod).value(); }
  std::size_t Pods() {
    const auto body = cli::BodyOf(At(app_->metrics_port()).Get("/debug/state"), "state").value();
    return cli::ParseState(body).value().nodes.at(0).pods.size();
  }

 private:
  static cli::HttpClient At(std::uint16_t port) { return cli::HttpClient::Make(fmt::format("http://127.0.0.1:{}", port)).value(); }
  static std::string Kubeconfig(const std::string& url) {
    return fmt::format(
        "current-context: test\nclusters: [{{name: c, cluster: {{server: \"{}\"}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
        "contexts: [{{name: test, context: {{cluster: c, user: u}}}}]\n",
        url);
  }

  test::TempFolder folder_;
  std::unique_ptr<SchedulerApp> app_;
};

TEST_CASE("A pod of the API server is bound with its allocation in one write, and its share comes back when it is deleted") {
  FakeApiServer api;
  api.Put(test::Kind::kNodes, kNode);
  Running scheduler(api);
  REQUIRE(scheduler.WaitReady());
  const auto pod = PodNamed("a");
  api.Put(test::Kind::kPods, pod.json);
  CHECK(scheduler.Schedule(pod).node == "n1");
  CHECK(api.Writes() == 1);
  const auto stored = api.Get(test::Kind::kPods, "team/a").value();
  CHECK(stored["spec"]["nodeName"] == "n1");
  const std::string allocation = stored["metadata"]["annotations"]["partage.dev/allocation"];
  CHECK(device::DecodeAllocation(allocation).value().containers.at(0).shares.at(0).mib == 5000);
  CHECK(scheduler.Pods() == 1);
  api.Remove(test::Kind::kPods, "team/a");
  CHECK(Eventually([&] { return scheduler.Pods() == 0; }));
}

TEST_CASE("A restarted scheduler finds in the cluster what it had given away") {
  FakeApiServer api;
  api.Put(test::Kind::kNodes, kNode);
  {
    Running first(api);
    REQUIRE(first.WaitReady());
    for (const char* name : {"a", "b", "c", "d"}) {
      api.Put(test::Kind::kPods, PodNamed(name).json);
      CHECK(first.Schedule(PodNamed(name)).node == "n1");
    }
  }
  Running second(api);
  REQUIRE(second.WaitReady());
  CHECK(second.Pods() == 4);
  CHECK(second.Schedule(PodNamed("e")).node.empty());
}

TEST_CASE("Pods are read only when the nodes are known") {
  FakeApiServer api;
  api.Put(test::Kind::kNodes, kNode);
  std::atomic<bool> nodes_served = false, pods_asked = false;
  api.OnCall([&](const test::ApiCall& call) {
    if (call.kind == test::Kind::kPods) pods_asked = true;
    return test::Fault{.status = call.kind == test::Kind::kNodes && !nodes_served ? 503 : 0};
  });
  Running scheduler(api);
  CHECK(
      Eventually([&] { return api.Calls(test::Verb::kList, test::Kind::kNodes) + api.Calls(test::Verb::kWatch, test::Kind::kNodes) > 1; }));
  CHECK_FALSE(pods_asked);
  CHECK(scheduler.Status("/healthz") == 200);
  CHECK(scheduler.Status("/readyz") == 503);
  CHECK(scheduler.Schedule(PodNamed("a")).error != "");
  nodes_served = true;
  REQUIRE(scheduler.WaitReady());
  CHECK(scheduler.Status("/readyz") == 200);
}

TEST_CASE("Stop ends within five seconds while the API server hangs") {
  FakeApiServer api;
  api.Put(test::Kind::kNodes, kNode);
  Running scheduler(api);
  REQUIRE(scheduler.WaitReady());
  api.OnCall([](const test::ApiCall& call) { return test::Fault{.latency = call.verb == test::Verb::kBind ? 3000ms : 0ms}; });
  api.Put(test::Kind::kPods, PodNamed("a").json);
  bool answered = false;
  std::jthread binding([&] { answered = scheduler.TrySchedule(PodNamed("a")).has_value(); });
  CHECK(Eventually([&] { return api.Calls(test::Verb::kBind) > 0; }));
  const auto began = std::chrono::steady_clock::now();
  scheduler.app().Stop();
  CHECK(std::chrono::steady_clock::now() - began < 5s);
  CHECK_FALSE(scheduler.app().ready());
  binding.join();
  CHECK_FALSE(answered);
}

TEST_CASE("Stop ends within five seconds while every call but the watches hangs for longer than a request may take") {
  FakeApiServer api;
  api.Put(test::Kind::kNodes, kNode);
  Running scheduler(api);
  REQUIRE(scheduler.WaitReady());
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) api.Put(test::Kind::kPods, PodNamed(name).json);
  for (const char* name : {"a", "b", "c"}) CHECK(scheduler.Schedule(PodNamed(name)).node == "n1");
  std::atomic<int> bind_hangs = 0, patch_hangs = 0;
  api.OnCall([&](const test::ApiCall& call) {
    if (call.verb == test::Verb::kList || call.verb == test::Verb::kWatch) return test::Fault{};
    bind_hangs += call.verb == test::Verb::kBind;
    patch_hangs += call.verb == test::Verb::kPatch;
    return test::Fault{.latency = 12s};
  });
  std::jthread binding([&] { (void)scheduler.TrySchedule(PodNamed("d")); });
  REQUIRE(Eventually([&] { return bind_hangs > 0; }));
  CHECK(scheduler.TrySchedule(PodNamed("e")).value().node.empty());
  api.Remove(test::Kind::kPods, "team/a");
  REQUIRE(Eventually([&] { return patch_hangs > 0; }));
  const auto began = std::chrono::steady_clock::now();
  scheduler.app().Stop();
  CHECK(std::chrono::steady_clock::now() - began < 5s);
}

}  // namespace
}  // namespace partage::app
