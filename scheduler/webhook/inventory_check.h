// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "device/request.h"
#include "scheduler/state/snapshot.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// Which devices the nodes of a snapshot publish, asked about by name. Looks through all nodes, which takes about a millisecond over 100,000 devices.
class KnownDevices {
 public:
  explicit KnownDevices(const Snapshot& snapshot) : snapshot_(snapshot) {}
  bool HasUuid(std::string_view uuid) const;
  /// Models that contain the word in any case, each once, in the order of their names; all of them for an empty word.
  std::vector<std::string> ModelsWith(std::string_view word) const;

 private:
  const Snapshot& snapshot_;
};

/// The first UUID among the pod's constraints that can be none: it looks like no UUID of the vendors asked, and no node publishes it. kInvalid names it and
/// the way out. What a vendor's UUIDs look like is data (vendors::Vendor::uuid_forms); where that is not known, all may be.
Result<> CheckUuids(const device::PodRequest& request, const vendors::Catalog& vendors, const KnownDevices& known);

/// A sentence for each UUID and each type among the constraints that no node publishes, and for each wanted type that stands for several models.
std::vector<std::string> WarnOfNames(const device::DeviceConstraints& constraints, const KnownDevices& known);

}  // namespace partage::scheduler
