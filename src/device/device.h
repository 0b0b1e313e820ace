// SPDX-License-Identifier: Apache-2.0
// Devices of a node as values. No I/O. Formats: docs/protocol.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace partage::device {

/// How a device is handed out.
enum class Mode : std::uint8_t {
  kShared,     ///< by the MiB and by the percent, held by the in-container library ("hami-core" in HAMi's words)
  kExclusive,  ///< only whole
  kMig,        ///< hardware partitions: not placed yet (refused with a reason), so that nobody else's instances are disturbed
  kMps,        ///< CUDA MPS server: not placed yet
};

/// The mode as documents spell it: "shared", "exclusive", "mig", "mps".
std::string_view ToString(Mode mode);
/// The mode of that spelling; HAMi's "hami-core" is shared. Nothing for another word.
std::optional<Mode> ParseMode(std::string_view word);

/// Bounds of what a node may publish, so that sums over a cluster stay far inside int64.
inline constexpr std::int32_t kMaxSlots = 100'000;
inline constexpr std::int32_t kMaxCores = 100'000;
inline constexpr std::size_t kMaxDevicesOfNode = 1'024;

/// One physical device as its node publishes it: identity and capacity, not use.
struct Device {
  std::string vendor;      ///< vendor definition it belongs to, e.g. "nvidia" (charts/partage/vendors/*.yaml)
  std::string uuid;        ///< opaque, unique in the node, e.g. "GPU-03f69c50-207a-2038-9b45-23cac89cb67d"
  std::string model;       ///< e.g. "NVIDIA A100-SXM4-80GB"
  std::int32_t index = 0;  ///< card index on the node
  std::int32_t numa = 0;   ///< NUMA node; 0 when unknown
  std::int32_t slots = 0;  ///< how many shares it may be cut into
  std::int32_t mib = 0;    ///< memory that may be given to tenants, MiB (what a tenant can never have is already off)
  std::int32_t cores = 0;  ///< compute, percent; 100 is one card, more when compute is over-committed
  Mode mode = Mode::kShared;
  bool healthy = true;
  bool cordoned = false;  ///< an administrator allows no new shares

  /// Link score to each device of the node by position in NodeInventory::devices (0 for itself and where unknown); empty
  /// when the node publishes none. Scale: 10 (system) to 60 (same board), plus 100 per NVLink.
  std::vector<std::int32_t> links;

  bool operator==(const Device&) const = default;
};

/// All devices of one node, sorted by (vendor, index, uuid). Immutable once published.
struct NodeInventory {
  /// Whose annotation it came from. On a kHami node the Binding also carries HAMi's annotations.
  enum class Dialect : std::uint8_t { kPartage, kHami };

  Dialect dialect = Dialect::kPartage;
  std::vector<Device> devices;

  /// Adds another vendor's devices, keeping the order and every link. REQUIRES: no UUID of `other` is here already.
  void Append(NodeInventory other);
  /// Restores the order after `devices` was filled in any order; links follow their devices.
  void Sort();
  /// Position of the device with this UUID, or -1.
  std::int32_t Find(std::string_view uuid) const;
  bool operator==(const NodeInventory&) const = default;
};

}  // namespace partage::device
