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
/// kind is "init", "sidecar" or "app" (also when absent); priority only when the container has one; vendor only with shares.
inline constexpr std::string_view kAllocationAnnotation = "partage.dev/allocation";

std::string EncodeAllocation(const Allocation& allocation);

/// kInvalid names the member and its value: not JSON, another version, wrong type, number negative or beyond int32, unknown kind, empty UUID,
/// two containers with one name, two shares of one container on one device. Unknown members are ignored.
Result<Allocation> DecodeAllocation(std::string_view json);

/// HAMi's annotation text (`hami.io/vgpu-devices-allocated`): per device `UUID,Type,mib,cores:`, each container ended by `;`,
/// init containers first. We write exactly one entry per container (Type = `word`, e.g. "NVIDIA"). REQUIRES: all shares are of the vendor of that word.
std::string EncodeHamiDevices(const Allocation& allocation, std::string_view word);

/// One container of the pod the text belongs to, in spec order (init containers first).
struct HamiContainer {
  std::string name;
  ContainerKind kind = ContainerKind::kApp;
  bool wants_devices = false;
};

/// Reads HAMi's text. HAMi leaves out entries of some containers without devices, so position is trusted only where the text has an entry for
/// every container and each one that holds devices stands at a container that wants some; otherwise the entries that hold devices are given in order to the
/// containers that want some. The type is not compared (some vendors write a product name there); a device named twice in one container is one share with the
/// sum. kInvalid when an entry is malformed, when more containers hold devices than want them, or when fewer do and which of them changes the usage.
Result<Allocation> DecodeHamiDevices(std::string_view text, std::string_view vendor, std::string_view node,
                                     const std::vector<HamiContainer>& containers);

}  // namespace partage::device
