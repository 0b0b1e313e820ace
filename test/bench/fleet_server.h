// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "test/bench/child.h"
#include "test/bench/fleet.h"

namespace partage::bench {

/// The fake API server, full of a fleet, in a process of its own: its memory and time are not the scheduler's. Used by one thread.
class FleetServer {
 public:
  /// Returns when the fleet is in.
  FleetServer(const Fleet& fleet, const std::string& folder);

  const std::string& url() const { return url_; }
  /// Pods nobody has bound, with the serial numbers from `first` on. With `small` they ask for as little as pods do, else for all sorts of things.
  void AddPending(int first, int count, bool small);
  /// From now on each write takes `ms`, and of each hundred bindings `conflicts` are refused with a 409.
  void SlowWrites(int ms, int conflicts);
  /// Watch events a second from now on: heartbeats of nodes and pods, pods that end, pods that appear bound; as many stay as there were. Returns how many
  /// a second there were since the last call.
  double Churn(int events_per_second);
  /// Writes that changed an object since the start.
  std::uint64_t Writes();
  double CpuSeconds() const { return child_.CpuSeconds(); }

 private:
  void Tell(const std::string& command);
  Child child_;
  std::string url_;
};

/// The other side: what this program does as `partage-bench serve`, until its stdin ends.
int ServeFleet();

}  // namespace partage::bench
