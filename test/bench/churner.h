// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "test/bench/fleet.h"
#include "test/support/fake_api_server.h"

namespace partage::bench {

/// Changes a fleet at a rate, on a thread of its own, so that watches have something to tell: of ten events one is a node's heartbeat, five are a pod's,
/// two pods end and two others appear in their stead. Nearly as many are bound as there were. One for the life of a fleet.
class Churner {
 public:
  /// REQUIRES: the fleet is in `api`, which must outlive this.
  Churner(test::FakeApiServer& api, const Fleet& fleet);

  /// From now on so many events a second; 0: none. Returns how many a second there were since the last call.
  double SetRate(int per_second);

 private:
  struct Place {
    int node, pod;
  };
  void Run(const std::stop_token& stop, int per_second);
  void ChangeSomething();
  Place SomePod();
  void EndPod();
  void StartPod();

  test::FakeApiServer& api_;
  const Fleet fleet_;
  std::vector<std::vector<int>> alive_;  // pods by node
  std::deque<Place> successors_;         // of pods that have ended
  std::mt19937 dice_{7};
  int beat_ = 0;
  std::chrono::steady_clock::time_point rate_since_{};
  int beat_then_ = 0;
  std::jthread thread_;
};

}  // namespace partage::bench
