// SPDX-License-Identifier: Apache-2.0
// What the quotas of each namespace allow, and what is taken of it.

#include <string>

#include "metrics/collectors/collector.h"
#include "metrics/collectors/family.h"

namespace partage::metrics {
namespace {

using Type = Desc::Type;

const std::vector<std::string_view> kLabels = {"namespace", "quota", "key"};
const Desc kLimit{
    Type::kGauge, "partage_quota_limit", "What a ResourceQuota allows of a vendor's devices: MiB or percent of cards.", kLabels, {}};
const Desc kUsed{Type::kGauge, "partage_quota_used", "What the pods it counts hold or are being given, in the same unit.", kLabels, {}};

void Collect(const CollectContext& context, const Registry::Sink& emit) {
  Family limit(kLimit), used(kUsed);
  context.cluster.VisitQuotas([&](const scheduler::QuotaLedger::Entry& entry) {
    limit.AddGauge(static_cast<double>(entry.most), {entry.ns, entry.name, entry.key});
    used.AddGauge(static_cast<double>(entry.used), {entry.ns, entry.name, entry.key});
  });
  emit(limit.Take());
  emit(used.Take());
}

const CollectorSpec kQuotas{.name = "quotas",
                            .summary = "What the quotas of each namespace allow, and what is taken of it.",
                            .descs = {&kLimit, &kUsed},
                            .collect = &Collect};
PARTAGE_REGISTER_COLLECTOR(kQuotas);

}  // namespace
}  // namespace partage::metrics
