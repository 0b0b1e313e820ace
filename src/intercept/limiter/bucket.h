// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "shm/layout.h"

namespace partage::intercept::limiter {

/// A share of one GPU's time in millionths: 1,000,000 is the whole GPU. kUnlimited: launches are counted and never wait.
using RatePpm = int64_t;
inline constexpr RatePpm kWholeGpu = 1'000'000;
inline constexpr RatePpm kUnlimited = -1;

/// How much a container may save up while it does not launch, in GPU nanoseconds: it covers what the host oversleeps and what neighbours delay. More
/// would be a burst. Launches longer than the least may save up their own length, up to the most.
inline constexpr int64_t kLeastCapacityNs = 10'000'000;
inline constexpr int64_t kMostCapacityNs = 20'000'000;
inline constexpr int64_t CapacityFor(int64_t cost_ns) {
  return cost_ns < kLeastCapacityNs ? kLeastCapacityNs : cost_ns > kMostCapacityNs ? kMostCapacityNs : cost_ns;
}

/// The longest a waiting launch sleeps before it looks again, so that a changed rate is noticed.
inline constexpr int64_t kWaitSliceNs = 5'000'000;

/// shm::TokenBucket: the compute budget that all processes of a container share on one device: one cache line in their shared region, all zero when new.
///
/// Two totals in GPU nanoseconds: what launches were charged, and what time has granted. A launch takes its place by adding its cost to `spent_ns`
/// and may go as soon as `granted_ns` reaches the value it found there: first come, first served, over all threads and processes, whatever
/// happens to the rate meanwhile. So the budget goes into debt by one charge a thread at most, and a debt is waited for exactly.
///
/// Thread-safe between processes. A process killed between any two instructions costs the container at most the grant since the last refill.
using shm::TokenBucket;

/// A place in the queue of a bucket: its launch may go when `granted_ns` is here.
using Ticket = int64_t;

/// Takes the next place in the queue and pays `cost_ns`. REQUIRES: cost_ns >= 0 (a total that fell would leave tickets that are never reached).
Ticket Charge(TokenBucket& bucket, int64_t cost_ns);

/// Returns what a launch was charged too much.
void GiveBack(TokenBucket& bucket, int64_t ns);

/// GPU time of the launches that were let go so far: what waits is charged and not in here.
int64_t Admitted(const TokenBucket& bucket);

/// Grants the time since the last refill at this rate; what would be saved beyond the capacity for a launch of `cost_ns` is lost.
void Refill(TokenBucket& bucket, RatePpm rate, int64_t cost_ns, int64_t now_ns);

/// Refills, then says how long the holder of the ticket for a launch of `cost_ns` must still wait, in ns, at most kWaitSliceNs at a time; 0: go.
int64_t WaitFor(TokenBucket& bucket, Ticket ticket, RatePpm rate, int64_t cost_ns, int64_t now_ns);

}  // namespace partage::intercept::limiter
