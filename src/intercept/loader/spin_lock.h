// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <atomic>

namespace partage::intercept::loader {

/// Guards work of microseconds that happens once or twice in the life of a process. Zero-initialised means free. Thread-safe.
class SpinLock {
 public:
  constexpr SpinLock() = default;
  void lock() {
    while (taken_.exchange(true, std::memory_order_acquire)) sched_yield();
  }
  void unlock() { taken_.store(false, std::memory_order_release); }
  /// In a forked child, where the thread that held it does not exist.
  void ResetInChild() { unlock(); }

 private:
  std::atomic<bool> taken_{false};
};

class SpinLocked {
 public:
  explicit SpinLocked(SpinLock& lock) : lock_(lock) { lock_.lock(); }
  ~SpinLocked() { lock_.unlock(); }
  SpinLocked(const SpinLocked&) = delete;
  SpinLocked& operator=(const SpinLocked&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace partage::intercept::loader
