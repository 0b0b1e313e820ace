// SPDX-License-Identifier: Apache-2.0
// A made-up cluster, of which only numbers are kept. The same numbers give the same nodes, pods and texts, in every process.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "device/allocation.h"
#include "device/device.h"

namespace partage::bench {

inline constexpr int kGpusPerNode = 8;
inline constexpr int kGpuMib = 81920;

/// Nodes of eight 80 GiB cards with bound pods on them. However many the pods are, together they fill the cards alike: three nodes of ten to the brim, each
/// card of the others by chance to between 5 and 90 %. So clusters of different age can be compared. Immutable.
struct Fleet {
  int nodes = 0;
  int pods_per_node = kGpusPerNode;
  int slots = 20;  ///< of each card

  std::string NodeName(int node) const;  ///< "gpu-node-00001.cluster.example"
  device::NodeInventory InventoryOf(int node) const;
  device::Allocation AllocationOf(int node, int pod) const;

  /// The Node object, about 5 KiB. `beat` only changes a heartbeat.
  std::string NodeText(int node, int beat = 0) const;
  /// A running Pod, about 2.3 KiB. `beat` changes nothing of its share.
  std::string BoundPodText(int node, int pod, int beat = 0) const;
  std::string BoundPodKey(int node, int pod) const;  ///< "namespace/name"
};

/// A pod in front of the scheduler. Names and UIDs of all pods are of one length.
struct PendingPod {
  int serial = 0;
  int form = 0;  ///< what it asks for: 0 to kForms - 1, or kSmallForm

  static constexpr int kForms = 8;
  static constexpr int kSmallForm = -1;  ///< 50 MiB of one card
  static constexpr std::string_view kNamespace = "research-team-07";

  std::string Name() const;
  std::string Uid() const;
  /// The Pod object as kube-scheduler holds it, about 3 KiB.
  std::string Text() const;
};

/// A UUID in the API server's form, made from two numbers.
std::string MakeUuid(std::uint64_t a, std::uint64_t b);

}  // namespace partage::bench
