// SPDX-License-Identifier: Apache-2.0
// The mutex of the library: one word, no libpthread, no set-up. Thread-safe.
#pragma once

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace partage::intercept {

/// Held for a few dozen instructions as a rule; a waiter spins that long, then sleeps in steps of 50 µs, so that a low-priority holder can run.
/// Zero-initialised means free. Not recursive; unlock from the locking thread.
class Lock {
 public:
  constexpr Lock() = default;

  void lock() {
    if (word_.exchange(1, std::memory_order_acquire) == 0) [[likely]]
      return;
    Wait();
  }

  void unlock() { word_.store(0, std::memory_order_release); }

  /// In a forked child, where the thread that held the lock does not exist.
  void ResetInChild() { word_.store(0, std::memory_order_relaxed); }

 private:
  void Wait() {
    constexpr int kSpins = 200;
    for (int tries = 0; word_.load(std::memory_order_relaxed) != 0 || word_.exchange(1, std::memory_order_acquire) != 0; ++tries) {
      if (tries < kSpins) continue;
      constexpr timespec kPause{0, 50'000};
      nanosleep(&kPause, nullptr);
    }
  }

  std::atomic<std::uint32_t> word_{0};
};

/// The same for what happens seldom, maybe before handlers of fork are registered, and may be begun anew: held by a thread of the process that this one was
/// forked from, it counts as free.
class ForkLock {
 public:
  constexpr ForkLock() = default;

  void lock() {
    const auto own = static_cast<std::uint32_t>(getpid());
    for (;;) {
      std::uint32_t holder = 0;
      if (word_.compare_exchange_strong(holder, own, std::memory_order_acquire)) return;
      if (holder != own && word_.compare_exchange_strong(holder, own, std::memory_order_acquire)) return;
      constexpr timespec kPause{0, 50'000};
      nanosleep(&kPause, nullptr);
    }
  }

  void unlock() { word_.store(0, std::memory_order_release); }

 private:
  std::atomic<std::uint32_t> word_{0};  // the process that holds it
};

/// Holds a lock for a scope.
template <class Lock>
class Locked {
 public:
  explicit Locked(Lock& lock) : lock_(lock) { lock_.lock(); }
  ~Locked() { lock_.unlock(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Lock& lock_;
};

}  // namespace partage::intercept
