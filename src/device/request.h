// SPDX-License-Identifier: Apache-2.0
// What a pod asks for, whatever dialect it was written in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace partage::device {

/// When a container runs, which decides how needs add up (allocation.h, CollapseUsage).
enum class ContainerKind : std::uint8_t {
  kInit,     ///< runs before the app containers, one after another
  kSidecar,  ///< an init container with restartPolicy Always: keeps running
  kApp,
};

/// The kind as documents spell it: "init", "sidecar", "app".
std::string_view ToString(ContainerKind kind);

/// "n devices of this vendor, each with so much": one container's request to one vendor.
struct DeviceRequest {
  std::string vendor;
  std::int32_t count = 1;      ///< distinct devices, ≥ 1
  std::int32_t mib = 0;        ///< memory on each, MiB; 0: use `percent`
  std::int32_t percent = 100;  ///< of each card's own memory, 1..100; only when mib is 0
  std::int32_t cores = 0;      ///< percent of each card's compute, 0..100. 100 is exclusive: the card must be unused and stays so

  /// MiB this request takes on a device of `total` MiB: `mib`, or total × percent ÷ 100 rounded down.
  std::int32_t MibOn(std::int32_t total) const {
    return mib > 0 ? mib : static_cast<std::int32_t>(static_cast<std::int64_t>(total) * percent / 100);
  }
  bool exclusive() const { return cores >= 100; }
  bool operator==(const DeviceRequest&) const = default;
};

struct ContainerRequest {
  std::string name;
  ContainerKind kind = ContainerKind::kApp;
  std::int32_t priority = -1;          ///< `nvidia.com/priority` (0 high, 1 low); -1: not given
  std::vector<DeviceRequest> devices;  ///< empty: the container wants none. At most one entry a vendor
  bool operator==(const ContainerRequest&) const = default;
};

/// Which devices a pod accepts; empty lists accept all.
struct DeviceConstraints {
  std::vector<std::string> use_uuids, nouse_uuids;    ///< exact
  std::vector<std::string> use_models, nouse_models;  ///< case-insensitive part of the model, as HAMi documents it
  std::vector<Mode> modes;                            ///< accepted modes; empty: any that can be placed
  bool numa_bind = false;                             ///< all devices of one container on one NUMA node
  bool operator==(const DeviceConstraints&) const = default;
};

/// Weights of slots, cores and memory in device scores (`hami.io/device-scoring-weights`). At least one is > 0.
struct ScoringWeights {
  std::int32_t slot = 1, core = 1, memory = 1;
  bool operator==(const ScoringWeights&) const = default;
};

/// What the scopes of a ResourceQuota ask of a pod (core/v1 ResourceQuotaScope).
struct QuotaTraits {
  bool terminating = false;               ///< spec.activeDeadlineSeconds is set
  bool best_effort = false;               ///< its QoS class
  bool cross_namespace_affinity = false;  ///< a pod (anti-)affinity term names namespaces
  std::string priority_class;             ///< spec.priorityClassName
  bool operator==(const QuotaTraits&) const = default;
};

/// A pod's whole request: all containers in the order init (sidecars among them), then app, as in the spec.
struct PodRequest {
  std::vector<ContainerRequest> containers;
  DeviceConstraints constraints;
  ScoringWeights weights;
  std::optional<std::string> node_policy;    ///< a registered node policy, e.g. "binpack"; absent: the configured default
  std::vector<std::string> device_policies;  ///< registered device policies, first decides, later ones break ties; empty: the default
  QuotaTraits quota_traits;

  /// Things the user should hear although the request is served, e.g. "gpucores 150 counts as 100".
  std::vector<std::string> warnings;

  /// False when no container wants a device: not our pod.
  bool wants_devices() const;
  bool operator==(const PodRequest&) const = default;
};

}  // namespace partage::device
