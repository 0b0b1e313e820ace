// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "intercept/limiter/bucket.h"
#include "intercept/limiter/cost_model.h"
#include "intercept/limiter/rate.h"
#include "intercept/limiter/sampler.h"

namespace partage::intercept::limiter {

inline constexpr int kLimiterDevices = 16;

/// What a thread was charged in advance, so that the shared line is touched rarely. Thread-local, all zero when new.
struct ThreadCredit {
  int64_t credit_ns[kLimiterDevices];
  uint32_t until_sample;  ///< launches until the next one that is measured
  uint32_t random;
  uint32_t batch;  ///< launches' worth of credit taken last: a short-lived thread takes little
};

/// One launch on its way through the slow path; the caller keeps it on its stack.
struct Admission {
  CostKey key;
  CostCell* cell;
  int device;
  bool measure;  ///< out: time this launch with Limiter::StartMeasure and FinishMeasure
  bool measurable;
  bool queued;  ///< has its place in the bucket's queue
  int64_t begun_ns;
  Ticket ticket;
  int64_t cost_ns;
};

/// Holds the launches of a process to their container's share of GPU time. The same object files are in the library and in the simulator: time, events
/// and the share are handed in, and nothing sleeps here.
///
///     Admission launch = limiter.Begin(thread, key, cell, device, true, now());  // unless Fast() said go
///     while (int64_t ns = limiter.Poll(launch, thread, share, now())) sleep(ns);
///     … submit, between StartMeasure and FinishMeasure if launch.measure …
///
/// A launch waits for the debt that those before it left, never for its own cost. While a key has never been measured, its second and later
/// launches wait for the first to finish, at most kMeasureWaitNs each (kernels may wait for one another): an unknown kernel cannot fill the GPU's queue.
/// Thread-safe; all zero when new (static storage).
class Limiter {
 public:
  static constexpr int64_t kMeasureWaitNs = 250'000'000;
  static constexpr int64_t kMeasurePollNs = 200'000;
  /// On average; the distance is random, so that no loop of the application is in step with it.
  static constexpr uint32_t kSampleEvery = 64;
  /// Of kernels of less than kShortNs: two events cost the host more than such a kernel the GPU.
  static constexpr uint32_t kSampleShortEvery = 256;
  static constexpr int64_t kShortNs = 10'000;

  /// Uses this bucket for this device. REQUIRES: 0 <= device < kLimiterDevices; the line outlives the limiter.
  void Attach(int device, TokenBucket* line) { devices_[device].line.store(line, std::memory_order_release); }
  TokenBucket* line(int device) const { return devices_[device].line.load(std::memory_order_acquire); }

  CostTable& costs() { return costs_; }
  Sampler& sampler() { return sampler_; }

  /// The whole price of most launches: true when the thread has the credit and the launch need not be measured.
  static bool Fast(ThreadCredit& thread, int device, const CostCell& cell) {
    const int64_t left = thread.credit_ns[device] - cell.fast_ns.load(std::memory_order_relaxed);
    if (left < 0 || thread.until_sample == 0) return false;
    thread.credit_ns[device] = left;
    --thread.until_sample;
    return true;
  }

  /// A launch that Fast refused. `measurable`: the caller can time it; what cannot be timed is charged by guess until somebody else's launch was.
  Admission Begin(ThreadCredit& thread, CostKey key, CostCell& cell, int device, bool measurable, int64_t now_ns);

  /// Nanoseconds to sleep before asking again; 0: submit now.
  int64_t Poll(Admission& launch, ThreadCredit& thread, const ComputeShare& share, const EventDriver& events, int64_t now_ns);

  /// Before and after the driver's launch of an admission that asks to be measured. `stream` is what the launch was given.
  int StartMeasure(const Admission& launch, const EventDriver& events, void* stream);
  void FinishMeasure(const Admission& launch, const EventDriver& events, int slot, void* stream, bool launched);

  /// Takes in what measurements have finished.
  void Collect(const ComputeShare& share, const EventDriver& events);

  /// GPU time that this process was charged since the last call, what measurements corrected included. Never negative: what they gave back beyond that
  /// is taken off the next answer.
  int64_t TakeCharged(int device) {
    std::atomic<int64_t>& charged = devices_[device].charged_ns;
    if (charged.load(std::memory_order_relaxed) <= 0) return 0;
    const int64_t ns = charged.exchange(0, std::memory_order_relaxed);
    if (ns >= 0) return ns;
    charged.fetch_add(ns, std::memory_order_relaxed);
    return 0;
  }

  /// In the child of a fork: what was learned stays, measurements under way are dropped. The bucket is the container's and goes on.
  void AfterFork() {
    sampler_.Reset();
    for (Device& device : devices_) device.charged_ns.store(0, std::memory_order_relaxed);
  }

 private:
  struct Device {
    std::atomic<TokenBucket*> line;
    std::atomic<int64_t> charged_ns;  // less what TakeCharged told
  };

  void Note(int device, int64_t ns) { devices_[device].charged_ns.fetch_add(ns, std::memory_order_relaxed); }

  int64_t Price(Admission& launch, RatePpm rate, const EventDriver& events, int64_t now_ns);
  void Enqueue(Admission& launch, ThreadCredit& thread, RatePpm rate, int64_t cost_ns, int64_t now_ns);

  CostTable costs_;
  Sampler sampler_;
  Device devices_[kLimiterDevices];
};

}  // namespace partage::intercept::limiter
