// SPDX-License-Identifier: Apache-2.0
#include "test/bench/scheduler_process.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "test/bench/give_up.h"
#include "test/bench/http_connection.h"

namespace partage::bench {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{180};

std::string Program() {
  if (const char* named = std::getenv("PARTAGE_SCHEDULER")) return named;
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename("partage-scheduler");
}

std::string WriteKubeconfig(const std::string& api_url, const std::string& path) {
  std::ofstream(path) << fmt::format(R"(apiVersion: v1
kind: Config
current-context: bench
clusters: [{{name: bench, cluster: {{server: "{}"}}}}]
users: [{{name: bench, user: {{token: bench}}}}]
contexts: [{{name: bench, context: {{cluster: bench, user: bench}}}}]
)",
                                     api_url);
  return path;
}

std::string On(std::uint16_t port) { return fmt::format("127.0.0.1:{}", port); }

}  // namespace

SchedulerProcess::SchedulerProcess(const std::string& api_url, const std::string& folder) : port_(FreePort()), metrics_port_(FreePort()) {
  const std::string kubeconfig = WriteKubeconfig(api_url, fmt::format("{}/kubeconfig-{}", folder, port_));
  const std::vector<std::string> command = {Program(),          "--kubeconfig",    kubeconfig,    "--listen", On(port_),
                                            "--metrics-listen", On(metrics_port_), "--log-level", "warn"};
  if (!std::filesystem::exists(command.front())) GiveUp("no program {}; build it, or name it with PARTAGE_SCHEDULER", command.front());
  began_ = steady_clock::now();
  process_ = std::make_unique<Child>(command, folder + "/partage-scheduler.log");
}

double SchedulerProcess::WaitReady() {
  while (!HttpConnection::Ok(metrics_port_, "/readyz")) {
    if (!process_->running()) process_->ReadLine();  // gives up, with its last words
    if (steady_clock::now() - began_ > kPatience) GiveUp("partage-scheduler is not ready after {} s", kPatience.count());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return std::chrono::duration<double>(steady_clock::now() - began_).count();
}

}  // namespace partage::bench
