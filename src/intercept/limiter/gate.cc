// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/gate.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "intercept/table.h"
#include "shm/clock.h"
#include "shm/region.h"

namespace partage::intercept::limiter {

constinit Gate g_gate{};
constinit Limiter g_limiter{};
__thread ThreadCredit t_credit{};

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr int64_t kGrantFreshNs = 1'000'000'000;  // an agent that writes every few milliseconds and has not for this long is gone
constexpr int64_t kTrimFreshNs = 60'000'000'000;  // what it learned stays true for longer

/// What the limits file says of compute, word by word: read by launches while another thread renews it.
struct View {
  std::atomic<std::int32_t> cores_percent[kLimiterDevices];
  std::atomic<std::uint32_t> policy;
};
constinit View g_view{};

int64_t Now() { return static_cast<int64_t>(shm::MonotonicNs()); }

bool Limits(std::uint32_t cores_percent, shm::CorePolicy policy) {
  return cores_percent > 0 && cores_percent < 100 && policy != shm::CorePolicy::kDisable;
}

/// What the agent says of the device while it is alive.
void AskAgent(const shm::AgentLine& agent, int64_t now_ns, ComputeShare* share) {
  const auto stamp = static_cast<int64_t>(agent.stamp_ns.load(kRelaxed));
  if (stamp == 0) return;
  if (now_ns - stamp < kTrimFreshNs) share->trim_ppm = static_cast<int64_t>(agent.trim_ppm.load(kRelaxed));
  if (now_ns - stamp >= kGrantFreshNs) return;
  const auto rate = static_cast<RatePpm>(agent.rate_ppm.load(kRelaxed));
  if (rate > 0) share->grant_ppm = rate < kWholeGpu ? rate : kUnlimited;
  share->neighbours_known = true;
  share->neighbours_busy = agent.others_active.load(kRelaxed) > 0;
}

ComputeShare ShareNow(int device, int64_t now_ns) {
  ComputeShare share{.cores_percent = g_view.cores_percent[device].load(kRelaxed),
                     .policy = static_cast<CorePolicy>(g_view.policy.load(kRelaxed)),
                     .trim_ppm = 0,
                     .grant_ppm = kNoGrant,
                     .neighbours_known = false,
                     .neighbours_busy = false};
  AskAgent(g_gate.limits->agent(static_cast<unsigned>(device)), now_ns, &share);
  return share;
}

/// Waits until the launch may go.
void AwaitTurn(Admission& launch, int64_t now_ns) {
  while (const int64_t wait = g_limiter.Poll(launch, t_credit, ShareNow(launch.device, now_ns), kCudaEvents, now_ns)) {
    region().SweepIfDue(static_cast<std::uint64_t>(now_ns));  // in time that is lost anyway
    shm::SleepNs(static_cast<std::uint64_t>(wait));
    now_ns = Now();
  }
  if (!HasSlot()) return;
  if (const int64_t charged = g_limiter.TakeCharged(launch.device); charged > 0)
    region().gpu_ns(static_cast<unsigned>(launch.device)).fetch_add(static_cast<std::uint64_t>(charged), kRelaxed);
}

}  // namespace

bool MeteredAnew() {
  const std::uint64_t generation = g_gate.limits->Generation();
  shm::LimitsContent content;
  if (!ReadLimits(&content)) return g_gate.metered.load(kRelaxed);
  bool metered = false;
  for (unsigned i = 0; i < content.devices; ++i) {
    g_view.cores_percent[i].store(static_cast<std::int32_t>(content.device[i].cores_percent), kRelaxed);
    const bool agent = g_gate.limits->agent(i).stamp_ns.load(kRelaxed) != 0;
    metered = metered || agent || Limits(content.device[i].cores_percent, content.policy);
  }
  g_view.policy.store(static_cast<std::uint32_t>(content.policy), kRelaxed);
  g_gate.metered.store(metered, kRelaxed);
  g_gate.generation.store(generation, kRelaxed);
  return metered;
}

int DeviceSlow() {
  const int known = g_gate.only_device.load(kRelaxed);
  if (known == kMany) return CurrentDeviceIndex();
  if (known == kNone) return -1;
  int count = 0;
  if (CallReal<Row::cuDeviceGetCount>(&count) != CUDA_SUCCESS) return -1;
  const int only = count == 1 ? DeviceIndexOf(CUdevice{0}) : -1;
  g_gate.only_device.store(count > 1 ? kMany : only < 0 ? kNone : only + 1, kRelaxed);
  return count > 1 ? CurrentDeviceIndex() : only;
}

bool CapturingSlow(CUstream stream) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUresult result = stream == OwnStream() ? CallReal<Row::cuStreamIsCapturing_ptsz>(nullptr, &status)
                                                : CallReal<Row::cuStreamIsCapturing>(stream, &status);
  return result != CUDA_SUCCESS || status != CU_STREAM_CAPTURE_STATUS_NONE;
}

Passage::Passage(CostKey key, CostCell& cell, int device, CUstream stream) : stream_(stream) {
  const int error = errno;
  const int64_t now_ns = Now();
  launch_ = g_limiter.Begin(t_credit, key, cell, device, true, now_ns);
  AwaitTurn(launch_, now_ns);
  if (launch_.measure) slot_ = g_limiter.StartMeasure(launch_, kCudaEvents, stream_);
  errno = error;
}

void PassUnmeasured(CostKey key, int device) {
  CostCell& cell = g_limiter.costs().Find(key);
  if (Limiter::Fast(t_credit, device, cell)) return;
  const InHook hook;
  const int error = errno;
  const int64_t now_ns = Now();
  Admission launch = g_limiter.Begin(t_credit, key, cell, device, false, now_ns);
  AwaitTurn(launch, now_ns);
  errno = error;
}

CUresult Passage::Launched(CUresult result) {
  launched_ = result == CUDA_SUCCESS;
  return result;
}

Passage::~Passage() {
  if (slot_ >= 0) g_limiter.FinishMeasure(launch_, kCudaEvents, slot_, stream_, launched_);
}

void OnActive() {
  g_gate.limits = &limits();
  g_gate.generation.store(~std::uint64_t{0}, kRelaxed);
  for (int i = 0; i < kLimiterDevices; ++i) g_limiter.Attach(i, &region().bucket(static_cast<unsigned>(i)));
}

void OnForkedChild() {
  g_limiter.AfterFork();
  g_gate.captures.store(0, kRelaxed);
  g_gate.only_device.store(kUnknown, kRelaxed);
}

}  // namespace partage::intercept::limiter
