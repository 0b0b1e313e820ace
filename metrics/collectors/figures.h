// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "metrics/registry.h"
#include "scheduler/framework/policy.h"

namespace partage::metrics {

inline constexpr double kBytesPerMib = 1 << 20;

/// A gauge computed from what there is and what is given away, of a device, a node or the cluster.
struct Figure {
  Desc desc;
  double (*value)(const scheduler::Amount& used, const scheduler::Amount& total);
};

double MemoryCapacity(const scheduler::Amount& used, const scheduler::Amount& total);   ///< bytes
double MemoryAllocated(const scheduler::Amount& used, const scheduler::Amount& total);  ///< bytes
double ComputeCapacity(const scheduler::Amount& used, const scheduler::Amount& total);  ///< whole cards; counted in percent of one
double ComputeAllocated(const scheduler::Amount& used, const scheduler::Amount& total);
double SlotsCapacity(const scheduler::Amount& used, const scheduler::Amount& total);
double SlotsAllocated(const scheduler::Amount& used, const scheduler::Amount& total);

/// For CollectorSpec::descs: those of the figures, then `more`.
std::vector<const Desc*> DescsOf(std::span<const Figure> figures, std::vector<const Desc*> more = {});

}  // namespace partage::metrics
