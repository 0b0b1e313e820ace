// SPDX-License-Identifier: Apache-2.0
// Node inventory annotations ⇄ NodeInventory. Pure functions, thread-safe. All input is hostile: no function throws or aborts.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "device/device.h"

namespace partage::device {

/// Our annotation on a node: `partage.dev/inventory`.
///   {"version":1,"devices":[{"vendor":"nvidia","uuid":"GPU-a","index":0,"model":"NVIDIA L4","memoryMiB":23034,"cores":100,
///     "slots":10,"numa":0,"mode":"shared","healthy":true,"cordoned":false,"links":{"GPU-b":120}}]}
/// Optional with these defaults: vendor "nvidia", index = position, cores 100, slots 10, numa 0, mode "shared", healthy true, cordoned
/// false, links {}. Unknown members are ignored (a newer agent may write more); another "version" is kInvalid.
inline constexpr std::string_view kInventoryAnnotation = "partage.dev/inventory";

/// kInvalid names the member and its value: not JSON, wrong type, negative or beyond-int32 number, empty or duplicate UUID, unknown mode.
/// One bad device makes the whole inventory bad: half an inventory would make used devices look absent.
Result<NodeInventory> DecodeInventory(std::string_view json);
std::string EncodeInventory(const NodeInventory& inventory);

/// HAMi's annotations of a node (hami.io/…). `registered` is `node-nvidia-register`: a JSON array of DeviceInfo, or the older colon text.
/// `scores` is `node-nvidia-score` (link scores, may be empty), `cordon` is `device-cordon` (comma list of UUIDs, may be empty).
/// DeviceInfo fields are absent when zero: id, index, count (→ slots), devmem (→ mib), devcore (→ cores), type (→ model), numa,
/// mode ("hami-core"|""→kShared, "mig", "mps"), health.
/// kInvalid as above; a bad `scores` is kInvalid too.
struct HamiNodeAnnotations {
  std::string_view registered;
  std::string_view scores;
  std::string_view cordon;
};
Result<NodeInventory> DecodeHamiInventory(std::string_view vendor, const HamiNodeAnnotations& annotations);

}  // namespace partage::device
