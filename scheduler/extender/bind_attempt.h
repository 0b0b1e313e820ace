// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "k8s/api/binding.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/cluster_api.h"
#include "scheduler/extender/pod_request.h"
#include "scheduler/extender/write_fence.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// What every attempt needs; outlives all of them.
struct BindContext {
  Engine& engine;
  ClusterApi& api;
  const vendors::Catalog& vendors;
  const PodRequests& requests;
  WriteFence& fence;
  const Clock& clock;
  std::function<void(const Result<>& outcome)> on_write;  ///< after each WriteBinding; any thread
};

/// One pod's way onto its node, as far as the ledger and the API server are concerned. Knows no threads and never waits: whoever drives it calls Advance
/// until it gives an outcome. Used by one thread at a time.
///
///   kReserve ──▶ kWrite ──201──▶ bound                      not executed: kWrite again
///                  │  ▲
///       409, reply │  │ not bound, and our write
///           lost   ▼  │ may still be on its way
///                kLook ──▶ bound with our allocation: bound.  Bound otherwise, gone, or refused for good: given back
///
/// While a write may have been executed (exposed), only the API server's word ends the hold on the share.
/// The fence is asked before every write. Where it is closed for the term in which the share was taken, nothing is written any more: the share is given back,
/// or, while exposed, looked after until the pod is seen bound or gone, or the lost write is too old to happen; or until this replica is active again and the
/// share, which it held all along, still fits: then the same is written again.
class BindAttempt {
 public:
  BindAttempt(const BindContext& context, PodRef pod, std::string node, Clock::Mono deadline);

  /// Goes on until the outcome is certain (then the ledger is settled, and the attempt is over) or until it is time to wait: nullopt, call again later.
  /// After the deadline no first write is begun.
  std::optional<Result<>> Advance();

  /// Ends an attempt that is not exposed: gives the share back. The error says what was tried last.
  Error GiveUp(std::string_view why);

  /// Leaves the share held, and the lease to run out, though this object goes away.
  void Abandon();

  /// A write has been, or is just being, made that may be executed. Thread-safe. False after the deadline means that none ever will be.
  bool exposed() const { return exposed_; }
  const PodRef& pod() const { return pod_; }
  const std::string& node() const { return node_; }

 private:
  enum class Stage { kReserve, kWrite, kLook };

  std::optional<Result<>> ReserveShare();
  std::optional<Result<>> ReserveAfterLook();
  std::optional<Result<>> TakeReservation(Result<Reservation> reservation);
  std::optional<Result<>> Write();
  std::optional<Result<>> Fenced(const Error& error);
  bool DecidedAgain();
  std::optional<Result<>> Look();
  std::optional<Result<>> Judge(const k8s::Pod& live);
  std::optional<Result<>> WaitAfter(const Error& error, Stage next);
  Result<> Bound();
  Result<> GivenBack(const Error& error);
  bool IsOurs(const k8s::Pod& live) const;
  bool SettledByWatch() const;
  bool Expired() const;

  const BindContext& context_;
  const PodRef pod_;
  const std::string node_;
  const Clock::Mono deadline_;

  Stage stage_ = Stage::kReserve;
  std::optional<Reservation> reservation_;    // none for a pod that takes nothing of ours
  WriteFence::Term term_ = 0;                 // in which the share was taken
  std::optional<WriteFence::Permit> permit_;  // of the last write whose reply was lost
  Clock::Mono lost_at_{};                     // when it was lost
  k8s::Binding binding_;
  bool unresolved_ = false;            // an earlier write may be executed yet
  std::atomic<bool> exposed_ = false;  // the same, or one is being made
  std::optional<Error> refusal_;       // a 409 that is to be explained by a look at the pod
  std::optional<Error> last_error_;
};

}  // namespace partage::scheduler
