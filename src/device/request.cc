// SPDX-License-Identifier: Apache-2.0

#include "device/request.h"

#include <algorithm>

namespace partage::device {

std::string_view ToString(ContainerKind kind) {
  switch (kind) {
    case ContainerKind::kInit: return "init";
    case ContainerKind::kSidecar: return "sidecar";
    case ContainerKind::kApp: return "app";
  }
  return "app";
}

bool PodRequest::wants_devices() const {
  return std::any_of(containers.begin(), containers.end(), [](const ContainerRequest& c) { return !c.devices.empty(); });
}

}  // namespace partage::device
