// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "device/request.h"
#include "scheduler/framework/policy.h"
#include "scheduler/state/snapshot.h"

namespace partage::scheduler {

/// The policies that decide for one pod.
struct PolicyChain {
  const Policy* node = nullptr;
  std::vector<const Policy*> devices;  ///< first decides, later ones break ties
  bool restricts = false;              ///< some of them rule devices out whatever their room
};

/// A request prepared for many nodes: what can be computed once is computed once (the field calls this PreFilter). Immutable; `request` and the policies must
/// outlive it.
class Ask {
 public:
  Ask(const device::PodRequest& request, PolicyChain policies, const std::vector<DeviceKind>& kinds);

  const device::PodRequest& request() const { return request_; }
  const PolicyChain& policies() const { return policies_; }

  /// What the pod would add to a node, for ranking: percentages count of the node's average card.
  Amount DemandOn(const NodeRow& row) const {
    Amount demand = fixed_demand_;
    if (percent_demand_ > 0 && row.count > 0) demand.mib += row.total.mib / row.count * percent_demand_ / 100;
    return demand;
  }

  /// Whether vendor, model and mode of the device suit the request. Kinds newer than this Ask do not; they suit the next one.
  bool Accepts(const device::DeviceRequest& wanted, std::uint16_t kind) const;

  /// What a glance at the row tells: false only where the pod cannot fit.
  bool RowMayFit(const NodeRow& row) const {
    return row.open && row.open_devices >= least_.count && row.max_free_mib >= least_.MibOn(row) && row.max_free_cores >= least_.cores;
  }
  /// Exact for most pods (see `simple`), and for the others never false where the pod fits: a scan over all nodes costs nanoseconds each.
  bool MayFit(const Block& block, const NodeRow& row) const;

  /// One container with one vendor's devices, no UUIDs, no NUMA binding, no restricting policy: MayFit is exact.
  bool simple() const { return simple_; }

 private:
  /// The hardest single request: whatever a node must have at least.
  struct Least {
    std::uint32_t count = 0;
    std::int64_t mib = 0;
    std::int64_t cores = 0;
    std::int64_t percent = 0;  // of the smallest card

    std::int64_t MibOn(const NodeRow& row) const { return std::max(mib, row.min_total_mib * percent / 100); }
  };
  std::uint32_t CountFitting(const Block& block, const NodeRow& row, const device::DeviceRequest& wanted) const;

  const device::PodRequest& request_;
  PolicyChain policies_;
  Least least_;
  Amount fixed_demand_;  // slots, cores, and MiB given as such
  std::int64_t percent_demand_ = 0;
  bool simple_ = false;
  struct VendorKinds {
    std::string vendor;
    std::vector<bool> accepted;  // by kind
  };
  std::vector<VendorKinds> kinds_;
  const device::DeviceRequest* only_ = nullptr;
};

}  // namespace partage::scheduler
