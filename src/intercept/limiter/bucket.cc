// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/bucket.h"

namespace partage::intercept::limiter {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr int64_t kMinRefillNs = 10'000;         // below this, the fraction of a nanosecond that rounding loses would add up
constexpr int64_t kMaxRefillNs = 1'000'000'000;  // after a pause the bucket is full anyway; keeps the product within 64 bits
constexpr int64_t kShortestSleepNs = 1'000;

void Cap(TokenBucket& bucket, int64_t cost_ns) {
  const int64_t most = bucket.spent_ns.load(kRelaxed) + CapacityFor(cost_ns);
  int64_t granted = bucket.granted_ns.load(kRelaxed);
  if (granted > most) bucket.granted_ns.compare_exchange_strong(granted, most, kRelaxed);
}

int64_t Granted(int64_t elapsed_ns, RatePpm rate) { return (elapsed_ns < kMaxRefillNs ? elapsed_ns : kMaxRefillNs) * rate / kWholeGpu; }

}  // namespace

Ticket Charge(TokenBucket& bucket, int64_t cost_ns) { return bucket.spent_ns.fetch_add(cost_ns, kRelaxed); }

void GiveBack(TokenBucket& bucket, int64_t ns) { bucket.granted_ns.fetch_add(ns, kRelaxed); }

int64_t Admitted(const TokenBucket& bucket) {
  const int64_t spent = bucket.spent_ns.load(kRelaxed);
  const int64_t granted = bucket.granted_ns.load(kRelaxed);
  return spent < granted ? spent : granted;
}

void Refill(TokenBucket& bucket, RatePpm rate, int64_t cost_ns, int64_t now_ns) {
  int64_t stamp = bucket.refill_stamp_ns.load(kRelaxed);
  if (now_ns - stamp < kMinRefillNs) return;
  // Whoever moves the stamp owns the time it moved over: nobody grants it twice.
  if (!bucket.refill_stamp_ns.compare_exchange_strong(stamp, now_ns, kRelaxed)) return;
  if (rate == kUnlimited) return bucket.granted_ns.store(bucket.spent_ns.load(kRelaxed) + kLeastCapacityNs, kRelaxed);
  if (stamp == 0) return bucket.granted_ns.store(kLeastCapacityNs, kRelaxed);
  bucket.granted_ns.fetch_add(Granted(now_ns - stamp, rate), kRelaxed);
  Cap(bucket, cost_ns);
}

int64_t WaitFor(TokenBucket& bucket, Ticket ticket, RatePpm rate, int64_t cost_ns, int64_t now_ns) {
  Refill(bucket, rate, cost_ns, now_ns);
  const int64_t missing = ticket - bucket.granted_ns.load(kRelaxed);
  if (missing <= 0 || rate == kUnlimited) return 0;
  bucket.hungry_stamp_ns.store(now_ns, kRelaxed);
  if (rate <= 0 || missing >= kWaitSliceNs) return kWaitSliceNs;
  const int64_t pending = now_ns - bucket.refill_stamp_ns.load(kRelaxed);
  const int64_t wait = (missing * kWholeGpu + rate - 1) / rate - pending;
  if (wait > kWaitSliceNs) return kWaitSliceNs;
  return wait > kShortestSleepNs ? wait : kShortestSleepNs;
}

}  // namespace partage::intercept::limiter
