// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "shm/limits.h"
#include "shm/region.h"

namespace partage::app {

/// One process of a usage file.
struct ProcessView {
  unsigned slot = 0;
  std::uint64_t pid = 0;       ///< in the container
  std::uint64_t host_pid = 0;  ///< 0 = unknown
  bool gone = false;           ///< dead, and not swept yet
  std::uint64_t held[shm::kMaxDevices][shm::kMemoryClasses] = {};
  std::uint64_t gpu_ns[shm::kMaxDevices] = {};
};

/// A usage file at one moment, and the limits that belong to it. Plain values.
struct TopView {
  std::uint64_t used[shm::kMaxDevices] = {};
  std::uint64_t refused[shm::kMaxDevices] = {};
  std::uint64_t settled = 0;
  std::vector<ProcessView> processes;  ///< by slot
  std::optional<shm::LimitsContent> limits;
};

/// REQUIRES: an open region.
TopView Look(const shm::Region& region, const std::optional<shm::LimitsContent>& limits);

/// Devices that limits name or that are used; below, the processes with what they hold of each.
std::string RenderTop(const TopView& view);
std::string RenderTopJson(const TopView& view);

/// partage-top without its process: 0 done, 1 a file was refused, 2 wrong arguments. `--help` is its manual.
int RunTop(std::vector<std::string> arguments, std::ostream& out, std::ostream& err);

}  // namespace partage::app
