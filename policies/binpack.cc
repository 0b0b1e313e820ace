// SPDX-License-Identifier: Apache-2.0
#include "scheduler/framework/policy.h"

namespace partage::scheduler {
namespace {

/// Fills the fullest node and the fullest device first, so that whole nodes and whole devices stay free.
class Binpack final : public Policy {
 public:
  Score RankNode(const NodeView& node, const Amount& demand, const device::ScoringWeights& weights) const override {
    return Fullness(node.used, node.total, demand, weights);
  }
  Score RankDevice(const DeviceView& device, const Amount& demand, const device::ScoringWeights& weights) const override {
    return Fullness(device.used, device.total, demand, weights);
  }
};

constexpr PolicySpec kBinpack{.name = "binpack",
                              .summary = "prefer the fullest node or device that fits",
                              .for_nodes = true,
                              .for_devices = true,
                              .make = &MakeWithoutArguments<Binpack>};
PARTAGE_REGISTER_POLICY(kBinpack);

}  // namespace
}  // namespace partage::scheduler
