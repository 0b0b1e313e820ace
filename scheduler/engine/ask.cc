// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/ask.h"

#include <algorithm>
#include <cctype>

namespace partage::scheduler {
namespace {

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool Contains(const std::string& model, const std::vector<std::string>& parts) {
  const std::string lower = Lower(model);
  return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) { return lower.find(Lower(part)) != std::string::npos; });
}

bool Suits(const DeviceKind& kind, std::string_view vendor, const device::DeviceConstraints& wanted) {
  if (kind.vendor != vendor) return false;
  if (!wanted.modes.empty() && std::find(wanted.modes.begin(), wanted.modes.end(), kind.mode) == wanted.modes.end()) return false;
  if (!wanted.use_models.empty() && !Contains(kind.model, wanted.use_models)) return false;
  return !Contains(kind.model, wanted.nouse_models);
}

}  // namespace

Ask::Ask(const device::PodRequest& request, PolicyChain policies, const std::vector<DeviceKind>& kinds)
    : request_(request), policies_(std::move(policies)) {
  std::size_t requests = 0;
  for (const auto& container : request_.containers) {
    for (const auto& wanted : container.devices) {
      ++requests;
      only_ = &wanted;
      least_.count = std::max(least_.count, static_cast<std::uint32_t>(wanted.count));
      least_.mib = std::max<std::int64_t>(least_.mib, wanted.mib);
      least_.cores = std::max<std::int64_t>(least_.cores, wanted.cores);
      if (wanted.mib == 0) least_.percent = std::max<std::int64_t>(least_.percent, wanted.percent);
      if (container.kind != device::ContainerKind::kInit) {
        fixed_demand_.slots += wanted.count;
        fixed_demand_.mib += std::int64_t{wanted.count} * wanted.mib;
        fixed_demand_.cores += std::int64_t{wanted.count} * wanted.cores;
        if (wanted.mib == 0) percent_demand_ += std::int64_t{wanted.count} * wanted.percent;
      }
      const auto same = [&](const VendorKinds& known) { return known.vendor == wanted.vendor; };
      if (std::any_of(kinds_.begin(), kinds_.end(), same)) continue;
      std::vector<bool> accepted(kinds.size());
      for (std::size_t k = 0; k < kinds.size(); ++k) accepted[k] = Suits(kinds[k], wanted.vendor, request_.constraints);
      kinds_.push_back({wanted.vendor, std::move(accepted)});
    }
  }
  const auto& constraints = request_.constraints;
  simple_ =
      requests == 1 && constraints.use_uuids.empty() && constraints.nouse_uuids.empty() && !constraints.numa_bind && !policies_.restricts;
}

bool Ask::Accepts(const device::DeviceRequest& wanted, std::uint16_t kind) const {
  for (const auto& vendor : kinds_) {
    if (vendor.vendor == wanted.vendor) return kind < vendor.accepted.size() && vendor.accepted[kind];
  }
  return false;
}

bool Ask::MayFit(const Block& block, const NodeRow& row) const {
  if (!RowMayFit(row)) return false;
  return !simple_ || CountFitting(block, row, *only_) >= least_.count;
}

std::uint32_t Ask::CountFitting(const Block& block, const NodeRow& row, const device::DeviceRequest& wanted) const {
  const std::vector<bool>& accepted = kinds_.front().accepted;
  std::uint32_t fitting = 0;
  for (std::uint32_t d = row.first; d < row.first + row.count; ++d) {
    const bool compute = wanted.cores == 0 ? block.free_cores[d] > 0 || block.total_cores[d] == 0 : block.free_cores[d] >= wanted.cores;
    const bool alone = !wanted.exclusive() || block.free_slots[d] == block.total_slots[d];
    fitting += block.flags[d] == 0 && block.free_slots[d] > 0 && compute && alone &&
                       block.free_mib[d] >= wanted.MibOn(static_cast<std::int32_t>(block.total_mib[d])) &&
                       block.kinds[d] < accepted.size() && accepted[block.kinds[d]]
                   ? 1
                   : 0;
    if (fitting >= least_.count) break;
  }
  return fitting;
}

}  // namespace partage::scheduler
