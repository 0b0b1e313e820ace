// SPDX-License-Identifier: Apache-2.0

#include "device/device.h"

#include <algorithm>

namespace partage::device {

std::int32_t NodeInventory::Find(std::string_view uuid) const {
  const auto found = std::find_if(devices.begin(), devices.end(), [&](const Device& d) { return d.uuid == uuid; });
  return found == devices.end() ? -1 : static_cast<std::int32_t>(found - devices.begin());
}

}  // namespace partage::device
