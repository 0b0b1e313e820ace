// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "base/problem.h"
#include "vendors/vendor.h"

namespace partage::vendors {

/// Reads a pod's scheduling annotations into `request`: constraints, weights, policies. `prefixes` are those of the vendors the pod asks for.
/// A blank annotation is one that was not given. Reports an unknown value, or two spellings of one annotation that contradict each other.
void ParseAnnotations(const PodInput& pod, const std::vector<std::string_view>& prefixes, const PolicyNames& policies,
                      device::PodRequest& request, Problem& problem);

}  // namespace partage::vendors
