// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace partage::intercept {

/// A device's memory as the container is to see it, in bytes. free + used <= total always; the difference is what neighbours hold of the device
/// although it belongs to this share. Of a share that may be larger than the device it is the share: what an allocation gets, be it slow.
struct ShareOfMemory {
  std::uint64_t total;
  std::uint64_t free;
  std::uint64_t used;  ///< charged by all processes of the container
};

/// Whether the device's share may be larger than the device (HAMi's memory scaling). Copies the limits: not for every call.
bool Oversubscribed(int index);

/// The share of the device with this index, of which the driver says these sizes. All the device when the index is -1 or it has no memory limit.
ShareOfMemory ShareOf(int index, std::uint64_t device_total, std::uint64_t device_free);

}  // namespace partage::intercept
