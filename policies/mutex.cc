// SPDX-License-Identifier: Apache-2.0
#include "scheduler/framework/policy.h"

namespace partage::scheduler {
namespace {

/// Places only on devices that nobody uses, without keeping later pods away from them.
class OnlyUnused final : public Policy {
 public:
  bool Admits(const DeviceView& device) const override { return device.used == Amount{}; }
};

constexpr PolicySpec kMutex{.name = "mutex",
                            .summary = "only devices that no other container uses",
                            .for_devices = true,
                            .restricts = true,
                            .make = &MakeWithoutArguments<OnlyUnused>};
PARTAGE_REGISTER_POLICY(kMutex);

}  // namespace
}  // namespace partage::scheduler
