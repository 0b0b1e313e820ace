// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "metrics/registry.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/cluster_api.h"
#include "scheduler/extender/write_fence.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

struct BinderOptions {
  int workers = 32;                          ///< bindings in flight to the API server
  std::size_t max_queue = 4096;              ///< beyond: refused at once with kUnavailable
  std::chrono::milliseconds deadline{8000};  ///< from the call to `done`; an outcome still unknown then is settled in the background
  WriteFence* fence = nullptr;               ///< asked before every write; must outlive the Binder. Null: this replica is alone
};

/// Binds pods: reserve in the ledger → one POST binding that carries the allocation → confirm after the 201, or give everything back.
///
/// | the write's outcome                      | the ledger                                                                  | `done`       |
/// |------------------------------------------|-----------------------------------------------------------------------------|--------------|
/// | 201                                      | bound                                                                       | success      |
/// | 409, and the live pod is bound with our node and our very allocation (an earlier write won) | bound                    | success      |
/// | 409 otherwise, 404, other 4xx            | given back                                                                  | the error    |
/// | never executed (429, connection refused) | retried with back-off until the deadline, then given back                   | the error    |
/// | unknown (lost reply, time-out, 5xx)      | held; the same Binding is written again, and the pod is read, until one of the rows above holds. Never given back on a guess | success, or kUnknown at the deadline while settling goes on in the background |
/// | not sent: another replica may write      | given back; held when an earlier write of ours may yet be executed          | kUnavailable |
///
/// Thread-safe. `engine`, `api`, `vendors`, `clock`, `registry` must outlive it.
class Binder {
 public:
  Binder(Engine& engine, ClusterApi& api, const vendors::Catalog& vendors, const Clock& clock, BinderOptions options,
         metrics::Registry& registry);
  ~Binder();  ///< Stop(0 s)

  /// Calls `done` exactly once, from a thread of the Binder's, or from this call when it takes no new work. Besides the table's errors: kConflict when an earlier
  /// bind of this pod is still in flight (also one that is being settled), or when the share no longer fits; kNotFound when pod or node are gone; kInvalid when
  /// the pod's request cannot be served; kUnavailable when the queue is full, time ran out before anything was written, or Stop was called.
  /// A pod that asks for nothing of ours is bound without a share.
  void Bind(PodRef pod, std::string node, std::function<void(Result<>)> done);

  /// Refuses new work, finishes what runs for at most `grace` (real time), then answers whoever still waits. A share whose fate is unknown then stays held: the
  /// next process reads the truth from a list. Calls in the API server's hands go on; the destructor waits for them. Idempotent.
  void Stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::scheduler
