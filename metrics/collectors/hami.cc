// SPDX-License-Identifier: Apache-2.0
// The names, labels and scales under which HAMi's scheduler exposes devices, so that dashboards made for it go on working. Its compute figures are
// percent although they end in _ratio.

#include <cmath>
#include <limits>

#include "metrics/collectors/collector.h"
#include "metrics/collectors/family.h"
#include "metrics/collectors/figures.h"
#include "metrics/collectors/walk.h"

namespace partage::metrics {
namespace {

using Type = Desc::Type;

constexpr std::string_view kZone = "vGPU";
const std::vector<std::string_view> kDevice = {"zone", "node", "device_uuid", "device_index", "device_type"};

double Percent(std::int64_t cores) { return static_cast<double>(cores); }
double MemoryUsed(const DeviceSample& sample) { return MemoryAllocated(sample.used, sample.total); }
double MemoryTotal(const DeviceSample& sample) { return MemoryCapacity(sample.used, sample.total); }
double CoresUsed(const DeviceSample& sample) { return Percent(sample.used.cores); }
double CoresTotal(const DeviceSample& sample) { return Percent(sample.total.cores); }

/// NaN where the device has no memory: no sample.
double MemoryRatio(const DeviceSample& sample) {
  return sample.total.mib > 0 ? MemoryUsed(sample) / MemoryTotal(sample) : std::numeric_limits<double>::quiet_NaN();
}

const struct {
  Desc desc;
  double (*value)(const DeviceSample&);
} kGauges[] = {
    {{Type::kGauge, "hami_gpu_memory_limit_bytes", "Memory of the device that pods may be given.", kDevice, {}}, &MemoryTotal},
    {{Type::kGauge, "hami_gpu_core_limit_ratio", "Compute of the device, in percent of a card.", kDevice, {}}, &CoresTotal},
    {{Type::kGauge, "hami_gpu_core_allocated_ratio", "Compute of the device given to pods, in percent of a card.", kDevice, {}},
     &CoresUsed},
    {{Type::kGauge, "hami_node_gpu_memory_allocated_ratio", "Part of the device's memory given to pods, 0 to 1.", kDevice, {}},
     &MemoryRatio},
};
// A gauge must not end in _count; that of a summary does by itself, and its sum can say what the shares hold.
const Desc kShared{
    Type::kSummary, "hami_gpu_shared", "Shares of the device given to pods, and the bytes of memory they hold.", kDevice, {}};
const Desc kMemoryAllocated{Type::kGauge,
                            "hami_gpu_memory_allocated_bytes",
                            "Memory of the device given to pods; the label device_cores is the compute given, in percent.",
                            {"zone", "node", "device_uuid", "device_index", "device_cores", "device_type"},
                            {}};
const Desc kOverview{Type::kGauge,
                     "hami_node_gpu_overview",
                     "Memory of the device given to pods, in bytes; the label device_memory_limit is in MiB.",
                     {"zone", "node", "device_uuid", "device_index", "device_cores", "device_memory_limit", "device_type"},
                     {}};

/// A family over all devices; `add` adds the sample of one, given its index as text.
template <class Add>
void EmitDevices(const CollectContext& context, const Registry::Sink& emit, const Desc& desc, Add add) {
  Family family(desc);
  ForEachDevice(context.snapshot, [&](const DeviceSample& sample) { add(family, sample, std::to_string(sample.device.index)); });
  emit(family.Take());
}

void AddShared(Family& family, const DeviceSample& sample, const std::string& index) {
  const auto shares = static_cast<std::uint64_t>(std::max<std::int64_t>(sample.used.slots, 0));
  family.AddSummary(shares, MemoryUsed(sample), {kZone, sample.node.name, sample.device.uuid, index, sample.device.model});
}

void AddMemoryAllocated(Family& family, const DeviceSample& sample, const std::string& index) {
  const auto cores = std::to_string(sample.used.cores);
  family.AddGauge(MemoryUsed(sample), {kZone, sample.node.name, sample.device.uuid, index, cores, sample.device.model});
}

void AddOverview(Family& family, const DeviceSample& sample, const std::string& index) {
  const auto cores = std::to_string(sample.used.cores), limit = std::to_string(sample.total.mib);
  family.AddGauge(MemoryUsed(sample), {kZone, sample.node.name, sample.device.uuid, index, cores, limit, sample.device.model});
}

void Collect(const CollectContext& context, const Registry::Sink& emit) {
  if (!context.detailed()) return;
  for (const auto& gauge : kGauges) {
    EmitDevices(context, emit, gauge.desc, [&](Family& family, const DeviceSample& sample, const std::string& index) {
      const double value = gauge.value(sample);
      if (!std::isnan(value)) family.AddGauge(value, {kZone, sample.node.name, sample.device.uuid, index, sample.device.model});
    });
  }
  EmitDevices(context, emit, kShared, AddShared);
  EmitDevices(context, emit, kMemoryAllocated, AddMemoryAllocated);
  EmitDevices(context, emit, kOverview, AddOverview);
}

const CollectorSpec kHami{
    .name = "hami",
    .summary = "Each device under the names HAMi's scheduler uses, while the cluster has no more of them than the limit.",
    .descs = {&kGauges[0].desc, &kGauges[1].desc, &kGauges[2].desc, &kGauges[3].desc, &kShared, &kMemoryAllocated, &kOverview},
    .collect = &Collect};
PARTAGE_REGISTER_COLLECTOR(kHami);

}  // namespace
}  // namespace partage::metrics
