// SPDX-License-Identifier: Apache-2.0
// The limiter under many threads at once; what it must not do is visible to ThreadSanitizer.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "intercept/limiter/limiter.h"

namespace partage::intercept::limiter {
namespace {

int64_t Now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

/// Events that are reached when they are recorded; each thread has a context of its own.
struct Instant {
  inline static std::mutex mutex;
  inline static std::deque<std::atomic<int64_t>> all;
  inline static std::atomic<int64_t> live{0};
  inline static thread_local int context;

  static void* Context() { return &context; }
  static void* Create() {
    const std::lock_guard locked(mutex);
    ++live;
    return &all.emplace_back(0);
  }
  static bool Record(void* event, void*) { return static_cast<std::atomic<int64_t>*>(event)->store(Now()), true; }
  static int Query(void*) { return 1; }
  static int64_t Elapsed(void* first, void* second) {
    return static_cast<std::atomic<int64_t>*>(second)->load() - static_cast<std::atomic<int64_t>*>(first)->load();
  }
  static void Destroy(void*) { --live; }
  inline static const EventDriver kDriver = {Context, Create, Record, Query, Elapsed, Destroy};
};

struct Process {
  Process() { limiter->Attach(0, &bucket); }
  std::unique_ptr<Limiter> limiter = std::make_unique<Limiter>();
  TokenBucket bucket{};

  void Launch(ThreadCredit& thread, CostKey key) {
    CostCell& cell = limiter->costs().Find(key);
    if (Limiter::Fast(thread, 0, cell)) return;
    Admission launch = limiter->Begin(thread, key, cell, 0, true, Now());
    const ComputeShare share{.cores_percent = 90, .grant_ppm = kNoGrant};
    while (limiter->Poll(launch, thread, share, Instant::kDriver, Now()) > 0) std::this_thread::yield();
    const int slot = launch.measure ? limiter->StartMeasure(launch, Instant::kDriver, nullptr) : -1;
    limiter->FinishMeasure(launch, Instant::kDriver, slot, nullptr, true);
  }
};

TEST_CASE("Threads launch, measure, forget keys and lose contexts side by side") {
  Process process;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uintptr_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      ThreadCredit credit{};
      for (uintptr_t i = 0; i < 3'000; ++i) process.Launch(credit, KernelKey(reinterpret_cast<void*>((i % 9 + t % 2) * 64), 0, 8, 1, 1));
    });
  }
  std::thread breaker([&] {
    for (uintptr_t i = 0; !stop.load(); ++i) {
      process.limiter->costs().Forget(KernelKey(reinterpret_cast<void*>((i % 9) * 64), 0, 8, 1, 1));
      process.limiter->sampler().Pause();
      process.limiter->sampler().ForgetDevice(static_cast<int>(i % 2) + 1);
      process.limiter->sampler().Resume();
      std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads) thread.join();
  stop = true;
  breaker.join();
  CHECK(process.bucket.spent_ns.load() > 0);
  CHECK(Instant::live.load() <= 3 * Sampler::kSlots);
}

}  // namespace
}  // namespace partage::intercept::limiter
