// SPDX-License-Identifier: Apache-2.0

#include "metrics/collectors/figures.h"

namespace partage::metrics {
namespace {

using scheduler::Amount;

constexpr double kPercentPerCard = 100;

}  // namespace

double MemoryCapacity(const Amount&, const Amount& total) { return static_cast<double>(total.mib) * kBytesPerMib; }
double MemoryAllocated(const Amount& used, const Amount&) { return static_cast<double>(used.mib) * kBytesPerMib; }
double ComputeCapacity(const Amount&, const Amount& total) { return static_cast<double>(total.cores) / kPercentPerCard; }
double ComputeAllocated(const Amount& used, const Amount&) { return static_cast<double>(used.cores) / kPercentPerCard; }
double SlotsCapacity(const Amount&, const Amount& total) { return static_cast<double>(total.slots); }
double SlotsAllocated(const Amount& used, const Amount&) { return static_cast<double>(used.slots); }

std::vector<const Desc*> DescsOf(std::span<const Figure> figures, std::vector<const Desc*> more) {
  std::vector<const Desc*> descs;
  for (const auto& figure : figures) descs.push_back(&figure.desc);
  descs.insert(descs.end(), more.begin(), more.end());
  return descs;
}

}  // namespace partage::metrics
