// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"
#include "k8s/leases/elector.h"
#include "k8s/leases/neighbour.h"
#include "metrics/registry.h"
#include "scheduler/extender/write_fence.h"

namespace partage::app {

/// Whether this replica may write, where there are several. Holds the replicas' own Lease, and, beside a kube-scheduler, only while that kube-scheduler holds
/// kube-scheduler's: so it is always the replica its active kube-scheduler talks to, and never two.
///
///   standby ──neighbour leads (follow), lease acquired──▶ reading ──every pod read since──▶ active
///      ▲                                                     │                                │
///      └──── lease run out, or lost ◀────────────────────────┴────────────────────────────────┤
///      └──── released once no write is on its way ◀── neighbour lost its lease, or Stop ──────┘
///
/// Thread-safe, but for Start, Tick and Stop. Owns one thread. What is passed in must outlive it.
class Leadership final : public scheduler::WriteFence {
 public:
  /// Has every pod read by a consistent read that begins after the call; and whether that has ended.
  struct PodReader {
    std::function<std::uint64_t()> read_again;
    std::function<bool(std::uint64_t number)> has_read;
  };
  struct Options {
    k8s::Elector::Options elector;
    std::string neighbour;  ///< host name of the kube-scheduler beside us
    std::uint32_t seed = 1;
  };
  /// `neighbour_lease` is null where there is no neighbour to follow.
  Leadership(std::unique_ptr<k8s::LeaseApi> lease, std::unique_ptr<k8s::LeaseApi> neighbour_lease, Options options, PodReader pods,
             const Clock& clock, metrics::Registry& registry);
  ~Leadership() override;  ///< Stop()

  Result<Term> CurrentTerm() const override;
  Result<Permit> BeginWrite(Term term) override;
  /// May write now.
  bool active() const;
  /// For people: "active", or why not and who is.
  std::string status() const;

  void Start();
  /// One round, as the thread does it (tests call it directly, without Start); how long to wait before the next.
  std::chrono::milliseconds Tick();
  /// Gives the lease to others at once if no write of ours can be on its way; otherwise it runs out. Idempotent.
  void Stop();

 private:
  enum class Phase { kStandby, kReading, kActive };

  Phase PhaseLocked() const PARTAGE_REQUIRES(mutex_);
  std::string StatusLocked() const PARTAGE_REQUIRES(mutex_);
  std::chrono::milliseconds LookPeriod() const;
  bool Eligible();
  void TryIfDue();
  void LookIfDue();
  void Resign();
  void Publish();
  void Note();
  void Run(std::stop_token stop);

  const Options options_;
  const PodReader pods_;
  const Clock& clock_;
  metrics::Registry& registry_;
  const std::unique_ptr<k8s::LeaseApi> lease_, neighbour_lease_;
  // Of the thread.
  k8s::Elector elector_;
  std::optional<k8s::Neighbour> neighbour_;
  Clock::Mono next_try_{}, next_look_{};
  bool was_eligible_ = false;
  Phase noted_ = Phase::kStandby;
  Clock::Mono gained_at_{};
  std::string trouble_noted_;

  mutable Mutex mutex_;
  CondVar wake_;
  std::optional<k8s::Tenure> tenure_ PARTAGE_GUARDED_BY(mutex_);
  std::uint64_t last_term_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::uint64_t read_ PARTAGE_GUARDED_BY(mutex_) = 0;  // number of the read that this term waits for
  bool resigning_ PARTAGE_GUARDED_BY(mutex_) = false;
  int writes_ PARTAGE_GUARDED_BY(mutex_) = 0;  // permits that have not ended
  std::string holder_ PARTAGE_GUARDED_BY(mutex_), neighbour_holder_ PARTAGE_GUARDED_BY(mutex_);
  const metrics::Registry::Counter fenced_;
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace partage::app
