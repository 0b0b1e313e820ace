// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "test/support/fake_api_server.h"

namespace partage::test {

inline constexpr int kSoakNodes = 20, kSoakGpus = 8, kSoakGpuMib = 40000;

/// Puts the nodes in.
void AddSoakNodes(FakeApiServer& api);

/// A third of the pods lie in this namespace, whose quotas SoakKeepers sets. Some pods have a priority; those of kSoakUrgent name that class.
inline constexpr const char* kSoakCapped = "capped";
inline constexpr const char* kSoakUrgent = "urgent";
/// Pods that run and are labelled app=guarded are under a disruption budget, which SoakKeepers sets.
inline constexpr const char* kSoakGuarded = "guarded";

/// kube-scheduler and users: pods come, are filtered and bound, and end, on several threads, as fast as the scheduler answers. Keeps about `alive` pods. Pods
/// of some priority that fit nowhere are tried again, so that what was preempted for them is taken.
class SoakTraffic {
 public:
  SoakTraffic(FakeApiServer& api, std::uint16_t extender_port, int threads, std::size_t alive, unsigned seed);
  ~SoakTraffic();

  /// Returns when every thread stands still.
  void Pause();
  void Resume();

  std::uint64_t submitted() const { return submitted_; }
  std::uint64_t bound() const { return bound_; }
  std::uint64_t bound_later() const { return bound_later_; }  ///< of these: pods of some priority that first fitted nowhere
  std::uint64_t failed() const { return failed_; }            ///< cycles whose bind or filter came back with an error

 private:
  void Run(const std::stop_token& stop, unsigned seed);
  void Turn(class SoakWorker& worker);

  FakeApiServer& api_;
  const std::uint16_t port_;
  const std::size_t alive_;
  std::atomic<std::uint64_t> submitted_{0}, bound_{0}, bound_later_{0}, failed_{0};
  Mutex mutex_;
  CondVar changed_;
  bool paused_ PARTAGE_GUARDED_BY(mutex_) = false;
  int running_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::vector<std::jthread> threads_;
};

}  // namespace partage::test
