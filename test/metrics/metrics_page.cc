// SPDX-License-Identifier: Apache-2.0

#include "test/metrics/metrics_page.h"

#include <fmt/core.h>

#include "metrics/catalog.h"
#include "metrics/collectors/collector.h"

namespace partage::test {
namespace {

using metrics::Desc;

constexpr std::string_view kIntroduction = R"(# Metrics

Made from `metrics/catalog.h` and `metrics/collectors/*.cc` by the test `test_metrics_contract`; run it with `PARTAGE_UPDATE_GOLDEN=1` to make it anew.

`partage-scheduler` serves these at `GET /metrics` in Prometheus' text format, on the address of `--metrics-listen`. Memory is in bytes, compute in whole
cards (30 % of a card is 0.3), time in seconds. "Given to pods" includes shares chosen in a filter and binds in flight.

- Series per node and per device are left out when the cluster has more devices than `metricsDeviceLimit`; `partage_device_series_enabled` is 0 then.
- Series that carry pod names are exposed only with `metricsPodSeries: true`: their number is bounded by nothing but the number of pods.
- Metrics whose names begin with `hami_` repeat others under the names, labels and scales of HAMi's scheduler, so that its dashboards go on working.
  `hami_gpu_shared_count` is the count of the summary `hami_gpu_shared`.
)";

std::string_view NameOf(Desc::Type type) {
  switch (type) {
    case Desc::Type::kCounter: return "counter";
    case Desc::Type::kGauge: return "gauge";
    case Desc::Type::kHistogram: return "histogram";
    case Desc::Type::kSummary: return "summary";
  }
  return "";
}

std::string Labels(const Desc& desc) {
  std::string labels;
  for (const auto label : desc.labels) labels += fmt::format("{}`{}`", labels.empty() ? "" : ", ", label);
  return labels;
}

std::string Section(std::string_view title, std::string_view summary, const std::vector<const Desc*>& descs) {
  auto section = fmt::format("\n## {}\n\n{}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n", title, summary);
  for (const auto* desc : descs)
    section += fmt::format("| `{}` | {} | {} | {} |\n", desc->name, NameOf(desc->type), Labels(*desc), desc->help);
  return section;
}

}  // namespace

std::string MetricsPage() {
  auto page = std::string(kIntroduction);
  page += Section("Events", "Counted and timed as they happen.", metrics::kCatalog);
  for (const auto& [name, spec] : metrics::CollectorRegistry::All()) page += Section(name, spec.summary, spec.descs);
  return page;
}

}  // namespace partage::test
