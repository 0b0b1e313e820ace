// SPDX-License-Identifier: Apache-2.0
#include "scheduler/framework/policy.h"

namespace partage::scheduler {
namespace {

/// Takes the emptiest node and the emptiest device first, so that tenants disturb each other least.
class Spread final : public Policy {
 public:
  Score RankNode(const NodeView& node, const Amount& demand, const device::ScoringWeights& weights) const override {
    return -Fullness(node.used, node.total, demand, weights);
  }
  Score RankDevice(const DeviceView& device, const Amount& demand, const device::ScoringWeights& weights) const override {
    return -Fullness(device.used, device.total, demand, weights);
  }
};

constexpr PolicySpec kSpread{.name = "spread",
                             .summary = "prefer the emptiest node or device that fits",
                             .for_nodes = true,
                             .for_devices = true,
                             .make = &MakeWithoutArguments<Spread>};
PARTAGE_REGISTER_POLICY(kSpread);

}  // namespace
}  // namespace partage::scheduler
