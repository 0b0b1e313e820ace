// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace partage::bench {

/// The value that a fraction `q` of the samples does not exceed (nearest rank). REQUIRES: some samples, 0 < q ≤ 1.
inline double Quantile(std::vector<double> samples, double q) {
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(samples.size()))) - 1;
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(rank), samples.end());
  return samples[rank];
}

inline double Median(std::vector<double> samples) { return Quantile(std::move(samples), 0.5); }

}  // namespace partage::bench
