// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/limiter.h"

namespace partage::intercept::limiter {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr int64_t kMeasureFirst = -1;               // Price: wait for the key's first measurement
constexpr int64_t kLostMeasureNs = 10'000'000'000;  // a first measurement this old will not come: make another
constexpr int64_t kMeasureAlwaysNs = 1'000'000;     // events cost such a launch nothing
constexpr int64_t kLargestBatchNs = 2'000'000;
constexpr int64_t kLongestBatchWaitNs = 4'000'000;  // so that a small share launches often instead of in bursts
constexpr uint32_t kLargestBatch = 256;

/// Uniform around kSampleEvery, or kSampleShortEvery.
uint32_t NextSample(ThreadCredit& thread, int64_t cost_ns) {
  uint32_t x = thread.random != 0 ? thread.random : static_cast<uint32_t>(reinterpret_cast<uintptr_t>(&thread) >> 4) | 1;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  thread.random = x;
  const uint32_t every = cost_ns < Limiter::kShortNs ? Limiter::kSampleShortEvery : Limiter::kSampleEvery;
  return every / 2 + x % every;
}

int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t Max(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t BatchNs(ThreadCredit& thread, RatePpm rate, int64_t cost_ns) {
  const int64_t batch = thread.batch == 0 ? 1 : thread.batch;
  thread.batch = static_cast<uint32_t>(Min(batch * 2, kLargestBatch));
  const int64_t most = rate == kUnlimited ? kLargestBatchNs : Min(kLargestBatchNs, kLongestBatchWaitNs * rate / kWholeGpu);
  return Min(cost_ns * batch, most);
}

}  // namespace

Admission Limiter::Begin(ThreadCredit& thread, CostKey key, CostCell& cell, int device, bool measurable, int64_t now_ns) {
  CostTable::Touch(cell, now_ns);
  const int64_t cost_ns = cell.cost_ns.load(kRelaxed);
  bool measure = cell.samples.load(kRelaxed) < CostTable::kFirstFew || cost_ns >= kMeasureAlwaysNs;
  if (thread.until_sample == 0) {
    measure = measure || thread.random != 0;  // a new thread has only not drawn yet
    thread.until_sample = NextSample(thread, cost_ns);
  }
  --thread.until_sample;
  return {.key = key,
          .cell = &cell,
          .device = device,
          .measure = measure && measurable,
          .measurable = measurable,
          .queued = false,
          .begun_ns = now_ns,
          .ticket = 0,
          .cost_ns = 0};
}

int64_t Limiter::Price(Admission& launch, RatePpm rate, const EventDriver& events, int64_t now_ns) {
  CostCell& cell = *launch.cell;
  if (cell.samples.load(kRelaxed) > 0) return cell.cost_ns.load(kRelaxed);
  if (!launch.measurable) return costs_.Guess(cell, sampler_.RunningFor(events, launch.key, now_ns));
  int64_t first = cell.first_stamp_ns.load(kRelaxed);
  const bool claim = first == 0 || now_ns - first > kLostMeasureNs;
  if (claim && cell.first_stamp_ns.compare_exchange_strong(first, now_ns, kRelaxed)) return costs_.Guess(cell, 0);
  const int64_t running = sampler_.RunningFor(events, launch.key, now_ns);
  if (rate != kUnlimited && running < kMeasureWaitNs && now_ns - launch.begun_ns < kMeasureWaitNs) return kMeasureFirst;
  launch.measure = false;
  return costs_.Guess(cell, running);
}

void Limiter::Enqueue(Admission& launch, ThreadCredit& thread, RatePpm rate, int64_t cost_ns, int64_t now_ns) {
  TokenBucket& bucket = *line(launch.device);
  int64_t& credit = thread.credit_ns[launch.device];
  const int64_t missing = cost_ns - credit;
  launch.queued = true;
  launch.cost_ns = cost_ns;
  if (missing <= 0) {
    launch.ticket = INT64_MIN;  // paid before
    credit = -missing;
    return;
  }
  Refill(bucket, rate, cost_ns, now_ns);  // first, or a long idle time would pay for this launch beyond the bucket's capacity
  const int64_t taken_ns = Max(missing, BatchNs(thread, rate, cost_ns));  // in advance for later launches of the thread too
  launch.ticket = Charge(bucket, taken_ns);
  Note(launch.device, taken_ns);
  credit = taken_ns - missing;
}

int64_t Limiter::Poll(Admission& launch, ThreadCredit& thread, const ComputeShare& share, const EventDriver& events, int64_t now_ns) {
  Collect(share, events);
  const RatePpm rate = EffectiveRate(share);
  if (!launch.queued) {
    const int64_t cost = Price(launch, rate, events, now_ns);
    if (cost == kMeasureFirst) return kMeasurePollNs;
    Enqueue(launch, thread, rate, cost, now_ns);
  }
  if (launch.ticket == INT64_MIN) return 0;
  const int64_t wait = WaitFor(*line(launch.device), launch.ticket, rate, launch.cost_ns, now_ns);
  // Whoever waits for this measurement counts from its submission.
  if (wait == 0 && launch.measure && launch.cell->samples.load(kRelaxed) == 0) launch.cell->first_stamp_ns.store(now_ns, kRelaxed);
  return wait;
}

int Limiter::StartMeasure(const Admission& launch, const EventDriver& events, void* stream) {
  const int slot = sampler_.Start(events, stream, launch.key, launch.cell, launch.device);
  if (slot < 0) launch.cell->first_stamp_ns.store(0, kRelaxed);
  return slot;
}

void Limiter::FinishMeasure(const Admission& launch, const EventDriver& events, int slot, void* stream, bool launched) {
  if (slot >= 0 && !sampler_.Finish(events, slot, stream, launched)) launch.cell->first_stamp_ns.store(0, kRelaxed);
}

void Limiter::Collect(const ComputeShare& share, const EventDriver& events) {
  for (Measured done; sampler_.Collect(events, &done);) {
    if (done.gpu_ns < 0) {
      done.cell->first_stamp_ns.store(0, kRelaxed);
      continue;
    }
    const int64_t owed = costs_.Observe(*done.cell, done.key, done.gpu_ns, NeighboursOf(share));
    if (owed > 0) Charge(*line(done.device), owed);
    if (owed < 0) GiveBack(*line(done.device), -owed);
    if (owed != 0) Note(done.device, owed);
  }
}

}  // namespace partage::intercept::limiter
