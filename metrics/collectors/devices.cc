// SPDX-License-Identifier: Apache-2.0

#include "metrics/collectors/collector.h"
#include "metrics/collectors/family.h"
#include "metrics/collectors/figures.h"
#include "metrics/collectors/walk.h"

namespace partage::metrics {
namespace {

using Type = Desc::Type;

const std::vector<std::string_view> kDevice = {"node", "device_uuid"};

const Figure kFigures[] = {
    {{Type::kGauge, "partage_device_memory_capacity_bytes", "Memory of the device that pods may be given.", kDevice, {}}, &MemoryCapacity},
    {{Type::kGauge, "partage_device_memory_allocated_bytes", "Memory of the device given to pods.", kDevice, {}}, &MemoryAllocated},
    {{Type::kGauge, "partage_device_compute_capacity_cards", "Compute of the device: 1, more where it is over-committed.", kDevice, {}},
     &ComputeCapacity},
    {{Type::kGauge, "partage_device_compute_allocated_cards", "Compute of the device given to pods, 1 being the whole card.", kDevice, {}},
     &ComputeAllocated},
    {{Type::kGauge, "partage_device_slots_capacity", "Shares that the device may be cut into.", kDevice, {}}, &SlotsCapacity},
    {{Type::kGauge, "partage_device_slots_allocated", "Shares of the device given to pods.", kDevice, {}}, &SlotsAllocated},
};
const Desc kSchedulable{Type::kGauge,
                        "partage_device_schedulable",
                        "1 while the device takes new shares if it has room, 0 while it is unhealthy, cordoned, in a mode that is not "
                        "placed, or its node quarantined.",
                        kDevice,
                        {}};
const Desc kInfo{Type::kGauge,
                 "partage_device_info",
                 "Always 1; its labels say what the device is.",
                 {"node", "device_uuid", "device_index", "vendor", "model", "numa"},
                 {}};

/// One family over all devices.
template <class Value>
void EmitDevices(const CollectContext& context, const Registry::Sink& emit, const Desc& desc, Value value) {
  Family family(desc);
  ForEachDevice(context.snapshot, [&](const DeviceSample& sample) {
    family.AddGauge(value(sample), {sample.node.name, sample.device.uuid});
  });
  emit(family.Take());
}

void EmitInfo(const CollectContext& context, const Registry::Sink& emit) {
  Family family(kInfo);
  ForEachDevice(context.snapshot, [&](const DeviceSample& sample) {
    const auto& device = sample.device;
    family.AddGauge(
        1, {sample.node.name, device.uuid, std::to_string(device.index), device.vendor, device.model, std::to_string(device.numa)});
  });
  emit(family.Take());
}

void Collect(const CollectContext& context, const Registry::Sink& emit) {
  if (!context.detailed()) return;
  EmitInfo(context, emit);
  EmitDevices(context, emit, kSchedulable, [](const DeviceSample& sample) { return sample.schedulable() ? 1 : 0; });
  for (const auto& figure : kFigures) {
    EmitDevices(context, emit, figure.desc, [&](const DeviceSample& sample) { return figure.value(sample.used, sample.total); });
  }
}

const CollectorSpec kDevices{.name = "devices",
                             .summary = "Each device, while the cluster has no more of them than the limit.",
                             .descs = DescsOf(kFigures, {&kSchedulable, &kInfo}),
                             .collect = &Collect};
PARTAGE_REGISTER_COLLECTOR(kDevices);

}  // namespace
}  // namespace partage::metrics
