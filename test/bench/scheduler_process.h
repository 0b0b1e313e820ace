// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "test/bench/child.h"

namespace partage::bench {

/// The real partage-scheduler, as a child process that reads the cluster at `api_url`. Used by one thread.
class SchedulerProcess {
 public:
  /// Starts it; see WaitReady. The program lies beside this one, or where PARTAGE_SCHEDULER says. `folder` takes its kubeconfig and log.
  SchedulerProcess(const std::string& api_url, const std::string& folder);

  /// Returns when /readyz answers 200: seconds since the process was started.
  double WaitReady();

  std::uint16_t port() const { return port_; }
  std::uint16_t metrics_port() const { return metrics_port_; }
  const Child& process() const { return *process_; }

 private:
  const std::uint16_t port_, metrics_port_;
  std::chrono::steady_clock::time_point began_;
  std::unique_ptr<Child> process_;
};

}  // namespace partage::bench
