// SPDX-License-Identifier: Apache-2.0
// The real programs, on a simulated cluster and over real sockets.
#include <fcntl.h>
#include <signal.h>

#include <optional>
#include <regex>

#include <catch2/catch.hpp>

#include "cli/http.h"
#include "cli/manifest.h"
#include "cli/scheduling_cycle.h"
#include "cli/state_view.h"
#include "test/main/program.h"
#include "test/support/temp_folder.h"

namespace partage {
namespace {

using namespace std::chrono_literals;
using cli::HttpClient;
using test::Program;

constexpr const char* kCluster = R"(
nodes:
  - name: n-#
    count: 2
    devices: [{model: NVIDIA L4, count: 2, memoryMiB: 20000}]
)";

/// A running partage-scheduler on ports of its own choosing.
class RunningScheduler {
 public:
  explicit RunningScheduler(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {
        "--cluster", "sim:" + folder_.Write("c.yaml", kCluster), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    program_.emplace(PARTAGE_SCHEDULER, arguments, folder_.path() + "/log");
    const bool ready = program_->WaitForOutput("cluster read: 2 nodes, 4 devices");
    INFO(program_->Output());
    REQUIRE(ready);
    const std::regex addresses("extender on ([0-9.:]+), metrics and state on ([0-9.:]+)");
    const std::string output = program_->Output();
    std::smatch match;
    REQUIRE(std::regex_search(output, match, addresses));
    extender_url_ = "http://" + match[1].str();
    server_url_ = "http://" + match[2].str();
  }

  Program& program() { return *program_; }
  const std::string& extender_url() const { return extender_url_; }
  const std::string& server_url() const { return server_url_; }
  HttpClient extender() const { return HttpClient::Make(extender_url_).value(); }
  HttpClient server() const { return HttpClient::Make(server_url_).value(); }
  cli::ClusterState State() const { return cli::ParseState(cli::BodyOf(server().Get("/debug/state"), "state").value()).value(); }

  cli::CycleOutcome Schedule(const std::string& name, int mib) const {
    const std::string yaml = fmt::format(
        "{{kind: Pod, metadata: {{name: {}, namespace: team}}, spec: {{containers: [{{name: main, resources: {{limits: {{nvidia.com/gpu: "
        "1, "
        "nvidia.com/gpumem: {}}}}}}}]}}}}",
        name, mib);
    auto client = extender();
    return cli::Schedule(client, cli::ParseManifests(yaml, "test").value().at(0), {"n-1", "n-2"}).value();
  }

 private:
  test::TempFolder folder_;
  std::optional<Program> program_;
  std::string extender_url_, server_url_;
};

std::size_t PodsOn(const cli::ClusterState& state, const std::string& node) {
  for (const auto& known : state.nodes) {
    if (known.name == node) return known.pods.size();
  }
  return 0;
}

TEST_CASE("A pod is filtered, bound, seen in the state, and deleted") {
  const RunningScheduler scheduler;
  const auto outcome = scheduler.Schedule("a", 5000);
  CHECK(outcome.error == "");
  CHECK(outcome.node == "n-1");
  const auto state = scheduler.State();
  REQUIRE(PodsOn(state, "n-1") == 1);
  CHECK(state.nodes[0].pods[0].state == "bound");
  CHECK(state.nodes[0].pods[0].shares.at(0).mib == 5000);
  CHECK(scheduler.server().Delete("/sim/pods?pod=team%2Fa").value().status == 200);
  CHECK(PodsOn(scheduler.State(), "n-1") == 0);
  CHECK(scheduler.server().Delete("/sim/pods?pod=team%2Fa").value().status == 404);
  CHECK(scheduler.server().Delete("/sim/pods?pod=team").value().status == 400);
}

TEST_CASE("Exactly what fits is bound, and the rest is told why") {
  const RunningScheduler scheduler;
  int bound = 0;
  for (int number = 0; number < 12; ++number) {
    const auto outcome = scheduler.Schedule("p" + std::to_string(number), 9000);
    if (!outcome.node.empty()) ++bound;
    if (outcome.node.empty()) CHECK_FALSE(outcome.refusals.empty());
  }
  CHECK(bound == 8);
  for (const auto& node : scheduler.State().nodes) {
    for (const auto& device : node.devices) CHECK(device.mib.used == 18000);
  }
}

TEST_CASE("Health, readiness and metrics are served") {
  const RunningScheduler scheduler;
  auto server = scheduler.server();
  CHECK(server.Get("/healthz").value().status == 200);
  CHECK(server.Get("/readyz").value().status == 200);
  const auto metrics = server.Get("/metrics").value().body;
  CHECK(metrics.find("partage_devices 4") != std::string::npos);
  CHECK(metrics.find("partage_device_memory_capacity_bytes{") != std::string::npos);
}

TEST_CASE("SIGTERM ends the process with 0 within five seconds, open connections or not") {
  for (const int signal : {SIGTERM, SIGINT}) {
    RunningScheduler scheduler;
    auto idle = scheduler.extender();
    CHECK(idle.Post("/filter", "{").value().status == 400);
    const auto began = std::chrono::steady_clock::now();
    scheduler.program().Signal(signal);
    CHECK(scheduler.program().WaitForEnd(5s) == 0);
    CHECK(std::chrono::steady_clock::now() - began < 5s);
    CHECK(scheduler.program().Output().find("stopped") != std::string::npos);
  }
}

TEST_CASE("An address in use is named, and the process ends with an error") {
  const RunningScheduler first;
  const test::TempFolder folder;
  const std::string taken = first.extender_url().substr(7);
  Program second(PARTAGE_SCHEDULER,
                 {"--cluster", "sim:" + folder.Write("c.yaml", kCluster), "--listen", taken, "--metrics-listen", "127.0.0.1:0"},
                 folder.path() + "/log");
  CHECK(second.WaitForEnd() == 1);
  CHECK(second.Output().find(taken) != std::string::npos);
}

TEST_CASE("A wrong cluster file is named with its line") {
  const test::TempFolder folder;
  const std::string file = folder.Write("c.yaml", "nodes:\n  - count: 1\n");
  for (const char* flag : {"--cluster", "--check-config"}) {
    Program program(PARTAGE_SCHEDULER, {flag, "sim:" + file}, folder.path() + "/log");
    CHECK(program.WaitForEnd() != 0);
  }
  Program program(PARTAGE_SCHEDULER, {"--check-config", "--cluster", "sim:" + file}, folder.path() + "/check");
  CHECK(program.WaitForEnd() == 1);
  CHECK(program.Output() == "partage-scheduler: --cluster: " + file + ":2: name: is missing; a word belongs here\n");
}

TEST_CASE("A configuration is judged without a cluster") {
  const test::TempFolder folder;
  Program good(PARTAGE_SCHEDULER, {"--check-config", "--config", folder.Write("g.yaml", "nodePolicy: spread\n")}, folder.path() + "/good");
  CHECK(good.WaitForEnd() == 0);
  CHECK(good.Output() == "the configuration is valid\n");
  Program bad(PARTAGE_SCHEDULER, {"--check-config", "--config", folder.Write("b.yaml", "nodePolicy: nothing\n")}, folder.path() + "/bad");
  CHECK(bad.WaitForEnd() == 1);
}

TEST_CASE("partagectl submits, shows and deletes") {
  const RunningScheduler scheduler;
  const test::TempFolder folder;
  const std::string pods = folder.Write("p.yaml",
                                        "kind: Pod\nmetadata: {name: a, namespace: team}\n"
                                        "spec: {containers: [{name: m, resources: {limits: {nvidia.com/gpumem: 15000}}}]}\n");
  const std::vector<std::string> where = {"--server", scheduler.server_url()};
  int runs = 0;
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), where.begin(), where.end());
    Program program(PARTAGECTL, arguments, folder.path() + "/out" + std::to_string(++runs));
    const int exit_code = program.WaitForEnd();
    return std::pair(exit_code, program.Output());
  };
  const auto submitted = run({"submit", "--extender", scheduler.extender_url(), "--repeat", "5", pods});
  INFO(submitted.second);
  CHECK(submitted.first == 1);
  CHECK(submitted.second.find("team/a-4") != std::string::npos);
  CHECK(submitted.second.find("refused") != std::string::npos);
  const auto state = run({"state"});
  CHECK(state.first == 0);
  CHECK(state.second.find("team/a-1 14.6 GiB") != std::string::npos);
  CHECK(state.second.find('\033') == std::string::npos);
  CHECK(run({"delete", "team/a-1"}).second == "team/a-1 is gone\n");
  CHECK(run({"delete", "team/a-1"}).first == 2);
}

}  // namespace
}  // namespace partage
