// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/limiter.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>

#include "test/intercept/limiter/fake_events.h"

namespace partage::intercept::limiter {
namespace {

using test::FakeEvents;

constexpr int64_t kUs = 1'000;
constexpr int64_t kMs = 1'000'000;

CostKey Key(uintptr_t n) { return KernelKey(reinterpret_cast<const void*>(n * 4096), 0, 8, 1, 1); }

/// One process on one device at half of it; time is FakeEvents::now.
struct Fixture {
  Fixture() {
    FakeEvents::Restart();
    limiter->Attach(0, &bucket);
  }
  std::unique_ptr<Limiter> limiter = std::make_unique<Limiter>();
  TokenBucket bucket{};
  ThreadCredit thread{};
  ComputeShare share{.cores_percent = 50, .grant_ppm = kNoGrant};

  Admission Begin(CostKey key, ThreadCredit& who) { return limiter->Begin(who, key, limiter->costs().Find(key), 0, true, FakeEvents::now); }
  int64_t Poll(Admission& launch, ThreadCredit& who) { return limiter->Poll(launch, who, share, FakeEvents::kDriver, FakeEvents::now); }
  int64_t Poll(Admission& launch) { return Poll(launch, thread); }
  /// Submits what was admitted; a measured one takes this long on the GPU.
  void Submit(const Admission& launch, int64_t gpu_ns) {
    if (!launch.measure) return;
    const int slot = limiter->StartMeasure(launch, FakeEvents::kDriver, nullptr);
    FakeEvents::now += gpu_ns;
    limiter->FinishMeasure(launch, FakeEvents::kDriver, slot, nullptr, true);
  }
  /// A whole launch, waiting included; returns how long it waited.
  int64_t Launch(CostKey key, int64_t gpu_ns, ThreadCredit& who) {
    if (Limiter::Fast(who, 0, limiter->costs().Find(key))) return 0;
    Admission launch = Begin(key, who);
    const int64_t asked = FakeEvents::now;
    for (int64_t ns; (ns = Poll(launch, who)) > 0;) FakeEvents::now += ns;
    const int64_t waited = FakeEvents::now - asked;
    Submit(launch, gpu_ns);
    return waited;
  }
};

TEST_CASE_METHOD(Fixture, "A stream of launches is held to half of the time") {
  const int64_t begin = FakeEvents::now;
  for (int i = 0; i < 20'000; ++i) Launch(Key(1), 100 * kUs, thread);
  const auto elapsed = static_cast<double>(FakeEvents::now - begin);
  CHECK(elapsed == Approx(2.0 * 20'000 * 100 * kUs).epsilon(0.01));
}

TEST_CASE_METHOD(Fixture, "Most launches touch nothing that is shared") {
  for (int i = 0; i < 2'000; ++i) Launch(Key(1), 5 * kUs, thread);
  int touched = 0;
  for (int i = 0; i < 2'000; ++i) {
    const int64_t before = bucket.spent_ns;
    Launch(Key(1), 5 * kUs, thread);
    touched += bucket.spent_ns != before;
  }
  CHECK(touched < 2'000 / 100);
}

TEST_CASE_METHOD(Fixture, "Of a known kernel about one launch in sixty-four is measured, of a short one every fourth of those") {
  const auto [gpu_ns, every] = GENERATE(table<int64_t, int>({{5 * kUs, 256}, {20 * kUs, 64}}));
  for (int i = 0; i < 400; ++i) Launch(Key(1), gpu_ns, thread);
  int measured = 0;
  for (int i = 0; i < 1'000 * every; ++i) {
    if (Limiter::Fast(thread, 0, limiter->costs().Find(Key(1)))) continue;
    Admission launch = Begin(Key(1), thread);
    for (int64_t ns; (ns = Poll(launch)) > 0;) FakeEvents::now += ns;
    measured += launch.measure;
    Submit(launch, gpu_ns);
  }
  CHECK(measured > 800);
  CHECK(measured < 1'200);
}

TEST_CASE_METHOD(Fixture, "While a kernel was never measured, the next launch of it waits for the first") {
  FakeEvents::reached = false;
  Admission first = Begin(Key(1), thread);
  REQUIRE(Poll(first) == 0);
  REQUIRE(first.measure);
  Submit(first, 0);
  ThreadCredit other{};
  Admission second = Begin(Key(1), other);
  CHECK(Poll(second, other) > 0);
  Admission different = Begin(Key(2), other);
  CHECK(Poll(different, other) == 0);
  FakeEvents::Reach();
  FakeEvents::events[2].stamp = 0;  // the one after the launch
  FakeEvents::now += 30 * kMs;
  FakeEvents::Reach();
  CHECK(Poll(second, other) > 0);  // now for the debt: 30 ms less the full bucket
  CHECK(limiter->costs().Find(Key(1)).cost_ns == 30 * kMs);
}

TEST_CASE_METHOD(Fixture, "Kernels that wait for one another are not held up for good") {
  FakeEvents::reached = false;
  Admission first = Begin(Key(1), thread);
  Poll(first);
  Submit(first, 0);
  Admission second = Begin(Key(1), thread);
  const int64_t asked = FakeEvents::now;
  for (int64_t ns; (ns = Poll(second)) > 0 && FakeEvents::now < asked + 10'000 * kMs;) FakeEvents::now += ns;
  CHECK(FakeEvents::now - asked >= Limiter::kMeasureWaitNs);
  CHECK(FakeEvents::now - asked < Limiter::kMeasureWaitNs + 20 * kMs);
}

TEST_CASE_METHOD(Fixture, "An unknown kernel that is seen running for long is charged for that") {
  FakeEvents::reached = false;
  Admission first = Begin(Key(1), thread);
  Poll(first);
  Submit(first, 0);
  FakeEvents::Reach();
  FakeEvents::events.back().stamp = 0;  // it runs, and has not finished
  Admission second = Begin(Key(1), thread);
  const int64_t asked = FakeEvents::now;
  for (int64_t ns; (ns = Poll(second)) > 0;) FakeEvents::now += ns;
  CHECK(FakeEvents::now - asked >= Limiter::kMeasureWaitNs);
  Admission third = Begin(Key(1), thread);
  const int64_t again = FakeEvents::now;
  for (int64_t ns; (ns = Poll(third)) > 0;) FakeEvents::now += ns;
  CHECK(FakeEvents::now - again >= Limiter::kMeasureWaitNs);  // half the GPU: 250 ms seen are 500 ms of the share, less what was saved
}

TEST_CASE_METHOD(Fixture, "A first launch that fails or cannot be measured does not hold up the next") {
  Admission first = Begin(Key(1), thread);
  Poll(first);
  limiter->FinishMeasure(first, FakeEvents::kDriver, limiter->StartMeasure(first, FakeEvents::kDriver, nullptr), nullptr, false);
  Admission second = Begin(Key(1), thread);
  CHECK(Poll(second) == 0);
  FakeEvents::context = nullptr;
  CHECK(limiter->StartMeasure(second, FakeEvents::kDriver, nullptr) == -1);
  Admission third = Begin(Key(1), thread);
  CHECK(Poll(third) == 0);
}

TEST_CASE_METHOD(Fixture, "A launch that cannot be timed waits for nobody's measurement, and is settled by one") {
  for (int i = 0; i < 3; ++i) {
    Admission launch = limiter->Begin(thread, Key(1), limiter->costs().Find(Key(1)), 0, false, FakeEvents::now);
    CHECK(Poll(launch) == 0);
    CHECK_FALSE(launch.measure);
  }
  Launch(Key(1), 20 * kMs, thread);
  const int64_t before = bucket.spent_ns;
  limiter->Collect(share, FakeEvents::kDriver);
  CHECK(bucket.spent_ns - before > 79 * kMs);
}

TEST_CASE_METHOD(Fixture, "Unlimited, nothing ever waits, and what is launched is still counted") {
  share.cores_percent = 0;
  FakeEvents::reached = false;
  for (int i = 0; i < 1'000; ++i) CHECK(Launch(Key(static_cast<uintptr_t>(i % 3 + 1)), 0, thread) == 0);
  CHECK(bucket.spent_ns > 0);
}

TEST_CASE_METHOD(Fixture, "A process is told all that it was charged, what measurements corrected included") {
  const int64_t gpu_ns = GENERATE(2 * kUs, 40 * kMs);  // less and more than the guess for the first launch
  for (int i = 0; i < 30; ++i) Launch(Key(1), gpu_ns, thread);
  limiter->Collect(share, FakeEvents::kDriver);
  const int64_t told = limiter->TakeCharged(0);
  CHECK(told >= 30 * gpu_ns);
  CHECK(told <= 30 * gpu_ns + std::max(2 * kMs, gpu_ns / 100));  // a thread may have paid in advance
  CHECK(limiter->TakeCharged(0) == 0);
}

TEST_CASE_METHOD(Fixture, "Threads that launch once and end do not use up the share in advance") {
  for (int i = 0; i < 100; ++i) Launch(Key(1), 20 * kUs, thread);
  const int64_t before = bucket.spent_ns;
  for (int i = 0; i < 1'000; ++i) {
    ThreadCredit brief{};
    Launch(Key(1), 20 * kUs, brief);
  }
  CHECK(bucket.spent_ns - before <= 1'000 * 21 * kUs);
}

TEST_CASE_METHOD(Fixture, "A forked child goes on under the same budget") {
  for (int i = 0; i < 500; ++i) Launch(Key(1), 1 * kMs, thread);
  limiter->AfterFork();
  const int64_t begin = FakeEvents::now;
  for (int i = 0; i < 500; ++i) Launch(Key(1), 1 * kMs, thread);
  CHECK(static_cast<double>(FakeEvents::now - begin) == Approx(1'000.0 * kMs).epsilon(0.02));
}

}  // namespace
}  // namespace partage::intercept::limiter
