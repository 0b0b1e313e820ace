// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/clock.h"
#include "k8s/leases/lease_api.h"

namespace partage::k8s {

/// Watches a Lease that others hold, as a kube-scheduler its own: whether the holder is the process beside us. Kubernetes' components name themselves
/// HOSTNAME_UUID. Used by one thread.
class Neighbour {
 public:
  /// `host`: the neighbour's host name, without the underscore. `api` and `clock` must outlive it.
  Neighbour(LeaseApi& api, std::string host, const Clock& clock);

  /// One look at the Lease. A failed one changes nothing.
  void Look();
  /// The Lease named the neighbour when last seen, and has been seen to change within its duration.
  bool holds() const;
  const std::string& holder() const { return seen_.holder; }
  /// What went wrong in the last look; empty when nothing did.
  const std::string& trouble() const { return trouble_; }

 private:
  LeaseApi& api_;
  const std::string host_;
  const Clock& clock_;
  Lease seen_;
  Clock::Mono changed_{};
  std::string trouble_;
};

}  // namespace partage::k8s
