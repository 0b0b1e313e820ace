// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "test/bench/filter_body.h"

namespace partage::bench {

/// Schedules pods as kube-scheduler does: filters one after another, binds concurrently; a pod whose bind fails is filtered again.
class BindLoad {
 public:
  /// Bodies by form: the pod with serial number s has the form of bodies[s % size].
  BindLoad(std::uint16_t port, std::vector<FilterBody> bodies) : port_(port), bodies_(std::move(bodies)) {}

  struct Outcome {
    double pods_per_s = 0;
    int failed_binds = 0;
  };
  /// Schedules the pods with the serial numbers from `first` on, until all are bound. They must exist, unbound.
  Outcome Run(int first, int count);

 private:
  struct Bind {
    int serial = 0;
    std::string node;
  };
  void FilterAll(int first, int count);
  std::optional<int> NextPod(int& fresh, int end);
  void BindAll();
  std::optional<Bind> NextBind();
  void Finish(const Bind& bind, std::string_view reply);

  const std::uint16_t port_;
  std::vector<FilterBody> bodies_;
  Mutex mutex_;
  CondVar work_, progress_;
  std::deque<Bind> to_bind_ PARTAGE_GUARDED_BY(mutex_);
  std::deque<int> to_retry_ PARTAGE_GUARDED_BY(mutex_);
  int unbound_ PARTAGE_GUARDED_BY(mutex_) = 0;
  int failed_binds_ PARTAGE_GUARDED_BY(mutex_) = 0;
};

}  // namespace partage::bench
