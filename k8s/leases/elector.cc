// SPDX-License-Identifier: Apache-2.0
#include "k8s/leases/elector.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include <fmt/format.h>

namespace partage::k8s {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kJitter = 1.2;
constexpr seconds kReleasedDuration{1};

}  // namespace

std::chrono::nanoseconds TimeSinceBoot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

Result<> Validate(const LeaseTimings& timings) {
  if (timings.duration <= timings.renew_deadline) {
    return Fail(Code::kInvalid, "leaseDuration {} ms is not more than renewDeadline {} ms: writes need the time between them",
                timings.duration.count(), timings.renew_deadline.count());
  }
  if (static_cast<double>(timings.renew_deadline.count()) <= kJitter * static_cast<double>(timings.retry_period.count())) {
    return Fail(Code::kInvalid, "renewDeadline {} ms is not more than 1.2 times retryPeriod {} ms", timings.renew_deadline.count(),
                timings.retry_period.count());
  }
  return {};
}

Elector::Elector(LeaseApi& api, Options options, const Clock& clock, std::uint32_t seed)
    : api_(api), options_(std::move(options)), clock_(clock), chance_(seed) {}

milliseconds Elector::Try() {
  trouble_.clear();
  if (tenure_ && clock_.Now() >= tenure_->until) tenure_.reset();
  return Pause((tenure_ && Store(&LeaseApi::Update, observed_)) || Contend());
}

void Elector::Look() {
  trouble_.clear();
  const auto live = api_.Get();
  if (live) return Observe(*live);
  if (live.error().code != Code::kNotFound) Trouble(live.error());
}

// A look at the live record, and what it allows.
bool Elector::Contend() {
  const auto live = api_.Get();
  if (live) {
    Observe(*live);
    return Take(*live);
  }
  if (live.error().code != Code::kNotFound) return Trouble(live.error());
  // Somebody has deleted it, and others may have created and deleted it since. Whoever held it when it was last seen need not know yet.
  tenure_.reset();
  if (observed_.holder != options_.identity && !IsFree(observed_)) return false;
  return Store(&LeaseApi::Create, Fresh());
}

bool Elector::Take(const Lease& live) {
  const bool ours = live.holder == options_.identity;
  if (!ours) tenure_.reset();
  if (!ours && !IsFree(live)) return false;
  Lease next = live;
  if (!ours) {
    next = Fresh();
    next.resource_version = live.resource_version;
    next.document = live.document;
    next.transitions = live.transitions + 1;
  }
  return Store(&LeaseApi::Update, std::move(next));
}

bool Elector::Store(Write write, Lease lease) {
  const auto begun = clock_.Now();
  const auto boot_begun = options_.boot_clock();
  lease.duration = std::chrono::ceil<seconds>(options_.timings.duration);
  lease.renew_time = MicroTime(clock_.WallNow());
  const auto stored = (api_.*write)(lease);
  if (!stored) return Trouble(stored.error());
  Observe(*stored);
  if (!tenure_) ++term_;
  const auto deadline = options_.timings.renew_deadline;
  tenure_ = {term_, begun + deadline, boot_begun + deadline, options_.boot_clock};
  return true;
}

// The time is that of the answer: the renewal it shows was begun before.
void Elector::Observe(const Lease& live) {
  const bool first = !std::exchange(looked_, true);
  if (first && !options_.predecessor.empty() && live.holder.starts_with(options_.predecessor)) orphaned_ = live.holder;
  if (!live.SameRecord(observed_)) observed_at_ = clock_.Now();
  observed_ = live;
}

bool Elector::IsFree(const Lease& live) const {
  return live.holder.empty() || live.holder == orphaned_ || clock_.Now() >= observed_at_ + live.duration;
}

Lease Elector::Fresh() const {
  Lease lease;
  lease.holder = options_.identity;
  lease.acquire_time = MicroTime(clock_.WallNow());
  return lease;
}

milliseconds Elector::Pause(bool held) {
  const auto period = options_.timings.retry_period;
  if (held || tenure_) return period;
  const auto random = [&](milliseconds most) {
    return milliseconds(std::uniform_int_distribution<milliseconds::rep>(0, most.count())(chance_));
  };
  const auto jittered = period + random(std::chrono::duration_cast<milliseconds>(period * kJitter));
  if (observed_.holder.empty()) return jittered;
  // Looking when the lease runs out instead of some seconds later makes the take-over that much shorter.
  const auto left = std::chrono::ceil<milliseconds>(observed_at_ + observed_.duration - clock_.Now());
  return std::min(jittered, std::max(left, period / 4) + random(period / 4));
}

Result<> Elector::Release() {
  if (!tenure_) return {};
  tenure_.reset();
  Lease free = observed_;
  free.holder.clear();
  free.duration = kReleasedDuration;
  free.renew_time = free.acquire_time = MicroTime(clock_.WallNow());
  const auto stored = api_.Update(free);
  if (!stored) return Fail(stored.error(), "release");
  Observe(*stored);
  return {};
}

bool Elector::Trouble(const Error& error) {
  trouble_ = error.message;
  return false;
}

}  // namespace partage::k8s
