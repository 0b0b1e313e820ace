// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/bucket.h"

#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

namespace partage::intercept::limiter {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kStart = 5'000 * kMs;
constexpr RatePpm kHalf = kWholeGpu / 2;

TEST_CASE("A new bucket is full") {
  TokenBucket bucket{};
  const Ticket ticket = Charge(bucket, kLeastCapacityNs);
  CHECK(WaitFor(bucket, ticket, kHalf, kMs, kStart) == 0);
  CHECK(WaitFor(bucket, Charge(bucket, 1), kHalf, kMs, kStart) == 0);
}

TEST_CASE("A launch goes into debt and the next one waits exactly for it") {
  TokenBucket bucket{};
  WaitFor(bucket, Charge(bucket, kLeastCapacityNs + 3 * kMs), kHalf, kMs, kStart);
  const Ticket next = Charge(bucket, kMs);
  CHECK(WaitFor(bucket, next, kHalf, kMs, kStart) == kWaitSliceNs);  // longer than a slice: asked again
  CHECK(WaitFor(bucket, next, kHalf, kMs, kStart + 5 * kMs) == kMs);
  CHECK(WaitFor(bucket, next, kHalf, kMs, kStart + 6 * kMs) == 0);
}

TEST_CASE("What is not used is saved up to the capacity and no further") {
  TokenBucket bucket{};
  Refill(bucket, kHalf, kMs, kStart);
  Refill(bucket, kHalf, kMs, kStart + 1'000'000 * kMs);
  CHECK(bucket.granted_ns - bucket.spent_ns == kLeastCapacityNs);
}

TEST_CASE("Long launches may save up their own length, to a point") {
  for (const auto& [cost, capacity] : {std::pair{15 * kMs, 15 * kMs}, std::pair{900 * kMs, kMostCapacityNs}}) {
    TokenBucket bucket{};
    Refill(bucket, kHalf, cost, kStart);
    Refill(bucket, kHalf, cost, kStart + 1'000'000 * kMs);
    CHECK(bucket.granted_ns - bucket.spent_ns == capacity);
  }
}

TEST_CASE("Refilling often grants as much as refilling once") {
  TokenBucket often{}, once{};
  Charge(often, 1'000 * kMs);
  Charge(once, 1'000 * kMs);
  for (TokenBucket* bucket : {&often, &once}) bucket->refill_stamp_ns = kStart;
  const RatePpm odd = 123'457;
  for (int64_t now = kStart; now <= kStart + 1'000 * kMs; now += 10'007) Refill(often, odd, kMs, now);
  Refill(often, odd, kMs, kStart + 1'001 * kMs);
  Refill(once, odd, kMs, kStart + 500 * kMs);
  Refill(once, odd, kMs, kStart + 1'001 * kMs);
  CHECK(std::abs(often.granted_ns - once.granted_ns) < once.granted_ns / 1000);
}

TEST_CASE("A clock that steps back grants nothing and takes nothing") {
  TokenBucket bucket{};
  Charge(bucket, 100 * kMs);
  Refill(bucket, kHalf, kMs, kStart);
  const int64_t granted = bucket.granted_ns;
  Refill(bucket, kHalf, kMs, kStart - 50 * kMs);
  CHECK(bucket.granted_ns == granted);
}

TEST_CASE("Rate nothing waits slice by slice and a rate that returns is noticed") {
  TokenBucket bucket{};
  WaitFor(bucket, Charge(bucket, kLeastCapacityNs + kMs), 0, kMs, kStart);
  const Ticket next = Charge(bucket, kMs);
  CHECK(WaitFor(bucket, next, 0, kMs, kStart + kMs) == kWaitSliceNs);
  CHECK(WaitFor(bucket, next, 0, kMs, kStart + 900 * kMs) == kWaitSliceNs);
  CHECK(WaitFor(bucket, next, kHalf, kMs, kStart + 903 * kMs) == 0);
}

TEST_CASE("Unlimited never waits, keeps count, and leaves neither debt nor savings") {
  TokenBucket bucket{};
  for (int i = 0; i < 100; ++i) CHECK(WaitFor(bucket, Charge(bucket, 50 * kMs), kUnlimited, kMs, kStart + i * kMs) == 0);
  CHECK(bucket.spent_ns == 5'000 * kMs);
  CHECK(bucket.granted_ns - bucket.spent_ns == kLeastCapacityNs);
}

TEST_CASE("Only a launch that must wait is remembered as hungry") {
  TokenBucket bucket{};
  WaitFor(bucket, Charge(bucket, kLeastCapacityNs + kMs), kHalf, kMs, kStart);
  CHECK(bucket.hungry_stamp_ns == 0);
  WaitFor(bucket, Charge(bucket, kMs), kHalf, kMs, kStart + 1);
  CHECK(bucket.hungry_stamp_ns == kStart + 1);
}

TEST_CASE("What was charged too much comes back, and every ticket is still reached") {
  TokenBucket bucket{};
  WaitFor(bucket, Charge(bucket, kLeastCapacityNs + 40 * kMs), kHalf, kMs, kStart);
  const Ticket next = Charge(bucket, kMs);
  GiveBack(bucket, 39 * kMs);
  CHECK(WaitFor(bucket, next, kHalf, kMs, kStart + 2 * kMs) == 0);
  CHECK(Admitted(bucket) <= bucket.spent_ns);
  GiveBack(bucket, 1'000 * kMs);
  CHECK(WaitFor(bucket, Charge(bucket, kMs), kHalf, kMs, kStart + 3 * kMs) == 0);
  CHECK(bucket.granted_ns <= bucket.spent_ns + kLeastCapacityNs);
}

TEST_CASE("A process killed between taking the time and granting it costs that time only") {
  TokenBucket bucket{};
  WaitFor(bucket, Charge(bucket, kLeastCapacityNs + 10 * kMs), kHalf, kMs, kStart);
  const Ticket next = Charge(bucket, kMs);
  bucket.refill_stamp_ns = kStart + 2 * kMs;  // it died here
  CHECK(WaitFor(bucket, next, kHalf, kMs, kStart + 21 * kMs) > 0);
  CHECK(WaitFor(bucket, next, kHalf, kMs, kStart + 22 * kMs) == 0);
}

TEST_CASE("Launches go in the order in which they asked, whatever they cost") {
  TokenBucket bucket{};
  WaitFor(bucket, Charge(bucket, kLeastCapacityNs + kMs), kHalf, kMs, kStart);
  const Ticket large = Charge(bucket, 20 * kMs);
  const Ticket small = Charge(bucket, 1);
  const Ticket last = Charge(bucket, 1);
  CHECK(WaitFor(bucket, small, kHalf, kMs, kStart + 2 * kMs) > 0);
  CHECK(WaitFor(bucket, large, kHalf, kMs, kStart + 2 * kMs) == 0);
  CHECK(WaitFor(bucket, last, kHalf, kMs, kStart + 41 * kMs) > 0);
  CHECK(WaitFor(bucket, small, kHalf, kMs, kStart + 42 * kMs) == 0);
}

/// Launches of random cost, each waiting for its ticket on a clock that all threads move.
void LaunchUntil(TokenBucket& bucket, std::atomic<int64_t>& now, int64_t end, unsigned seed) {
  std::mt19937 random(seed);
  while (now.load() < end) {
    const Ticket ticket = Charge(bucket, 1'000 + random() % 400'000);
    while (WaitFor(bucket, ticket, kHalf, kMs, now.fetch_add(20'000)) > 0) {
    }
  }
}

TEST_CASE("Threads that race launch as much as the rate allows, and no more") {
  TokenBucket bucket{};
  std::atomic<int64_t> now{kStart};
  const int64_t end = kStart + 2'000 * kMs;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) threads.emplace_back(LaunchUntil, std::ref(bucket), std::ref(now), end, i);
  for (std::thread& thread : threads) thread.join();
  CHECK(bucket.spent_ns <= (now.load() - kStart) / 2 + kLeastCapacityNs + 4 * 401'000);
  CHECK(bucket.spent_ns >= 2'000 * kMs / 8);  // a busy machine may not let the threads run
}

}  // namespace
}  // namespace partage::intercept::limiter
