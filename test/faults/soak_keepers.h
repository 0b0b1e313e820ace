// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <random>
#include <string>

#include "base/mutex.h"
#include "base/ticker.h"
#include "test/support/fake_api_server.h"

namespace partage::test {

/// Those who look after a cluster: kubelets end the pods that are told to leave, and administrators set quotas and disruption budgets, take them away and
/// mistype them. Two quotas of kSoakCapped never change: no moment may find them passed. While Calm, only the kubelets are at work. Thread-safe.
class SoakKeepers {
 public:
  SoakKeepers(FakeApiServer& api, unsigned seed);

  void Calm();
  void Storm();
  /// What was once seen to hold more than it may; empty: nothing.
  std::string fault() const;
  std::uint64_t ended() const { return ended_; }      ///< pods that were told to leave, and left
  std::uint64_t changes() const { return changes_; }  ///< of quotas and budgets

 private:
  void Turn();
  void EndLeaving() PARTAGE_REQUIRES(mutex_);
  void ChangeSomething() PARTAGE_REQUIRES(mutex_);
  bool OneIn(unsigned n) PARTAGE_REQUIRES(mutex_) { return dice_() % n == 0; }

  FakeApiServer& api_;
  std::atomic<std::uint64_t> ended_{0}, changes_{0};
  mutable Mutex mutex_;
  std::mt19937 dice_ PARTAGE_GUARDED_BY(mutex_);
  bool storm_ PARTAGE_GUARDED_BY(mutex_) = false;
  std::string fault_ PARTAGE_GUARDED_BY(mutex_);
  Ticker ticker_;
};

}  // namespace partage::test
