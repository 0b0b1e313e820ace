// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "base/clock.h"
#include "k8s/leases/lease_api.h"

namespace partage::k8s {

/// client-go's three times, and their meaning here.
struct LeaseTimings {
  std::chrono::milliseconds duration{15000};        ///< others wait this long after the last change they saw. Rounded up to whole seconds
  std::chrono::milliseconds renew_deadline{10000};  ///< a holder that has not renewed for this long stops acting
  std::chrono::milliseconds retry_period{2000};     ///< between renewals; candidates try after 1 to 2.2 of it

  /// What was begun before the renew deadline may still go on for this long.
  std::chrono::milliseconds margin() const { return duration - renew_deadline; }
};

/// kInvalid unless duration > renew_deadline > 1.2 · retry_period.
Result<> Validate(const LeaseTimings& timings);

/// Time since the machine started, the time it slept included, which the monotonic clock leaves out. Nobody can set it.
std::chrono::nanoseconds TimeSinceBoot();
using BootClock = std::chrono::nanoseconds (*)();

/// A stretch of time in which the lease is surely ours and was never another's.
struct Tenure {
  std::uint64_t term = 0;               ///< 1, 2, …: a new one whenever somebody else may have held the lease in between
  Clock::Mono until;                    ///< renew deadline after the begin of the last renewal that was answered
  std::chrono::nanoseconds boot_until;  ///< the same of `boot_clock`: the machine may have slept
  BootClock boot_clock;

  bool Lasts(const Clock& clock) const { return clock.Now() < until && boot_clock() < boot_until; }
};

/// Acquires and renews a Lease by client-go's algorithm: whoever sees the record unchanged for its whole duration, by the own monotonic clock, takes it; every
/// write names the resourceVersion that was read, so one of several wins.
///
///   no tenure ──acquired──▶ tenure ──renewed──▶ tenure (same term)
///       ▲                     │
///       └─ not renewed by the deadline; another holds it; released
///
/// Safe under lost and late replies, 409s, pauses at any instruction and jumps of the wall clock: a tenure ends `renew_deadline` after its last answered
/// renewal was *begun*, and nobody else's begins before `duration` after that renewal was executed. Assumes only that monotonic clocks of two machines run
/// equally fast. Used by one thread; never waits by itself.
class Elector {
 public:
  struct Options {
    std::string identity;  ///< unique to this process
    /// A holder with this prefix that is found at the first look cannot live beside us (it had our address): its lease is free. May be empty.
    std::string predecessor;
    LeaseTimings timings;
    BootClock boot_clock = &TimeSinceBoot;
  };
  /// `api` and `clock` must outlive it.
  Elector(LeaseApi& api, Options options, const Clock& clock, std::uint32_t seed);

  /// One attempt to acquire or renew: up to three requests. Returns how long to wait before the next.
  std::chrono::milliseconds Try();
  /// Notes who holds the lease and since when, for a Try to come: whoever begins to look only then has all the waiting before it.
  void Look();
  /// Gives the lease away at once. REQUIRES: nothing that was begun under the tenure goes on. When it fails, or there is no tenure, the lease runs out by
  /// itself.
  Result<> Release();
  /// Ends the tenure without a word: the lease runs out.
  void Forget() { tenure_.reset(); }

  const std::optional<Tenure>& tenure() const { return tenure_; }
  /// Whom the lease named when last seen; for people.
  const std::string& holder() const { return observed_.holder; }
  /// What went wrong in the last Try; empty when nothing did.
  const std::string& trouble() const { return trouble_; }

 private:
  using Write = Result<Lease> (LeaseApi::*)(const Lease&);

  bool Contend();
  bool Take(const Lease& live);
  bool Store(Write write, Lease lease);
  void Observe(const Lease& live);
  bool IsFree(const Lease& live) const;
  Lease Fresh() const;
  std::chrono::milliseconds Pause(bool held);
  bool Trouble(const Error& error);

  LeaseApi& api_;
  const Options options_;
  const Clock& clock_;
  std::minstd_rand chance_;
  std::optional<Tenure> tenure_;
  std::uint64_t term_ = 0;
  Lease observed_;
  Clock::Mono observed_at_{};
  bool looked_ = false;
  std::string orphaned_;  // the holder whose lease is free because it was our predecessor's
  std::string trouble_;
};

}  // namespace partage::k8s
