// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/governor.h"

namespace partage::intercept::limiter {
namespace {

constexpr RatePpm kPercent = kWholeGpu / 100;
constexpr int64_t kMemory = 20;  // windows that count, fading
constexpr int64_t kPriorMemory = 4;
constexpr int64_t kLeastUsedNs = 50'000'000;  // below this, whole percents say nothing

bool Limited(const Tenant& tenant) {
  return tenant.cores_percent > 0 && tenant.cores_percent < 100 && tenant.policy != CorePolicy::kDisable;
}
RatePpm Limit(const Tenant& tenant) { return Limited(tenant) ? tenant.cores_percent * kPercent : kUnlimited; }
bool Borrows(const Tenant& tenant) { return Limited(tenant) && tenant.soft && tenant.policy != CorePolicy::kForce; }

void Notice(Tenant& tenant, int64_t now_ns) {
  const bool waits = tenant.hungry_stamp_ns != 0 && now_ns - tenant.hungry_stamp_ns < Governor::kTickNs * 2;
  const bool launched = tenant.started && tenant.spent_ns != tenant.seen_spent_ns;
  if (waits || launched) tenant.active_stamp_ns = now_ns;
  tenant.seen_spent_ns = tenant.spent_ns;
  tenant.started = true;
}

bool Active(const Tenant& tenant, int64_t now_ns) {
  return tenant.active_stamp_ns != 0 && now_ns - tenant.active_stamp_ns < Governor::kIdleAfterNs;
}

/// What the limits of active containers leave of the device, and the sum of the limits of those that would use it.
struct Spare {
  RatePpm left = kWholeGpu;
  RatePpm wanted = 0;
  int active = 0;
  bool urgent = false;  // somebody of priority 0 is active
};

Spare Survey(const Tenant* tenants, int count, int64_t now_ns) {
  Spare spare;
  for (int i = 0; i < count; ++i) {
    const Tenant& tenant = tenants[i];
    if (!Active(tenant, now_ns)) continue;
    ++spare.active;
    spare.urgent = spare.urgent || tenant.priority == 0;
    spare.left -= Limited(tenant) ? Limit(tenant) : kWholeGpu;
    if (Borrows(tenant)) spare.wanted += Limit(tenant);
  }
  if (spare.left < 0) spare.left = 0;
  return spare;
}

RatePpm Grant(const Tenant& tenant, const Spare& spare, bool active) {
  if (spare.urgent && tenant.priority != 0) return Governor::kStarvedPpm;
  const bool alone = spare.active == 0 || (spare.active == 1 && active);
  const bool yields = Borrows(tenant) || tenant.policy == CorePolicy::kDefault;
  if (!Limited(tenant)) return kUnlimited;
  if (alone && yields) return Limit(tenant) > Governor::kAlonePpm ? Limit(tenant) : Governor::kAlonePpm;
  if (!active || !Borrows(tenant)) return Limit(tenant);
  return Limit(tenant) + spare.left * Limit(tenant) / spare.wanted;
}

}  // namespace

void Governor::Tick(Tenant* tenants, int count, int64_t now_ns) {
  for (int i = 0; i < count; ++i) Notice(tenants[i], now_ns);
  const Spare spare = Survey(tenants, count, now_ns);
  for (int i = 0; i < count; ++i) {
    const bool active = Active(tenants[i], now_ns);
    tenants[i].grant_ppm = Grant(tenants[i], spare, active);
    tenants[i].neighbours_busy = spare.active > (active ? 1 : 0);
  }
}

int64_t Trim::Update(int64_t charged_ns, int64_t used_ns) {
  charged_ns_ += charged_ns - charged_ns_ / kMemory;
  used_ns_ += used_ns - used_ns_ / kMemory;
  prior_ns_ -= prior_ns_ / kPriorMemory;
  if (used_ns_ < kLeastUsedNs) return ppm_;
  const int64_t ratio = (charged_ns_ + prior_ns_) * 1000 / ((used_ns_ + prior_ns_) / 1000);
  ppm_ = ratio < kLowestPpm ? kLowestPpm : ratio > kHighestPpm ? kHighestPpm : ratio;
  return ppm_;
}

}  // namespace partage::intercept::limiter
