// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "intercept/api/cuda.h"

namespace partage::intercept {

/// Processes that share one fake GPU and one container's limits. The test's own process stays out of it: all CUDA happens in children.
class Tenants {
 public:
  /// Limits of `memory_bytes` with `flags` (shm::DeviceFlag) on the first device of the fake driver's `profile`; set up in the environment.
  Tenants(std::uint64_t memory_bytes, const std::string& profile, std::uint32_t flags = 0);
  ~Tenants();
  Tenants(const Tenants&) = delete;
  Tenants& operator=(const Tenants&) = delete;

  /// Bytes charged to the container.
  std::uint64_t Used() const;

  /// Whether somebody who comes now gets that much.
  bool IsFree(std::uint64_t bytes) const;

 private:
  std::string folder_;
};

/// Runs `body` in a child, which succeeds when it returns true.
template <class Body>
pid_t Child(Body&& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body() ? 0 : 1);
  return pid;
}

/// Waits for the child.
bool Succeeded(pid_t pid);

/// In a child: the primary context of device 0, current. Ends the process where that fails.
CUcontext Start();

}  // namespace partage::intercept
