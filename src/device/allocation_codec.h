// SPDX-License-Identifier: Apache-2.0
// Pod allocation annotations ⇄ Allocation. Pure functions, thread-safe. All input is hostile: no function throws or aborts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/allocation.h"

namespace partage::device {

/// Our annotation on a pod, written once, in the Binding: `partage.dev/allocation`.
///   {"version":1,"node":"n1","containers":[{"name":"main","kind":"app","vendor":"nvidia","priority":0,
///     "shares":[{"uuid":"GPU-a","memoryMiB":3000,"cores":30}]}]}
/// kind is "init", "sidecar" or "app"; priority only when the container has one; vendor only with shares.
inline constexpr std::string_view kAllocationAnnotation = "partage.dev/allocation";

std::string EncodeAllocation(const Allocation& allocation);

/// kInvalid names the member and its value: not JSON, another version, wrong type, number negative or beyond int32, unknown kind, empty UUID,
/// two containers with one name, two shares of one container on one device. Unknown members are ignored.
Result<Allocation> DecodeAllocation(std::string_view json);

/// HAMi's annotation text (`hami.io/vgpu-devices-allocated`): per device `UUID,Type,mib,cores:`, each container ended by `;`,
/// init containers first. We write exactly one entry per container (Type = `word`, e.g. "NVIDIA").
std::string EncodeHamiDevices(const Allocation& allocation, std::string_view word);

/// One container of the pod the text belongs to, in spec order (init containers first).
struct HamiContainer {
  std::string name;
  ContainerKind kind = ContainerKind::kApp;
  bool wants_devices = false;
};

/// Reads HAMi's text. HAMi leaves out entries of containers without devices: with fewer non-empty entries than containers, or entries that
/// do not line up with the containers that want devices, non-empty entries are matched in order to the containers that want devices.
/// kInvalid when an entry is malformed or entries remain that no container can have asked for.
Result<Allocation> DecodeHamiDevices(std::string_view text, std::string_view vendor, std::string_view node,
                                     const std::vector<HamiContainer>& containers);

}  // namespace partage::device
