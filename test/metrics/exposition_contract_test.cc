// SPDX-License-Identifier: Apache-2.0
// What every collector owes when it is asked.

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "test/metrics/sample.h"

namespace partage::test {
namespace {

using metrics::CollectorRegistry;
using metrics::CollectorSpec;
using metrics::Desc;

const metrics::CollectOptions kEverything{.pod_series = true, .waiting_pods = [] { return std::size_t{1}; }};

const Desc* DescOf(const CollectorSpec& spec, std::string_view name) {
  const auto found = std::find_if(spec.descs.begin(), spec.descs.end(), [&](const Desc* desc) { return desc->name == name; });
  return found == spec.descs.end() ? nullptr : *found;
}

void CheckSample(const Desc& desc, const prometheus::ClientMetric& metric, std::set<std::string>& series) {
  REQUIRE(metric.label.size() == desc.labels.size());
  std::string key;
  for (std::size_t i = 0; i < desc.labels.size(); ++i) {
    CHECK(metric.label[i].name == desc.labels[i]);
    key += metric.label[i].value + '\0';
  }
  CHECK(series.insert(key).second);
}

TEST_CASE("A collector emits what it declares, all of it, each family and each series once") {
  const SampleMetrics sample;
  for (const auto& [name, spec] : CollectorRegistry::All()) {
    std::set<std::string> emitted;
    for (const auto& family : Collected(spec, sample.cluster, kEverything)) {
      INFO(name << ": " << family.name);
      const auto* desc = DescOf(spec, family.name);
      REQUIRE(desc != nullptr);
      CHECK(emitted.insert(family.name).second);
      CHECK(family.help == desc->help);
      std::set<std::string> series;
      for (const auto& metric : family.metric) CheckSample(*desc, metric, series);
      CHECK_FALSE(series.empty());
    }
    INFO(name);
    CHECK(emitted.size() == spec.descs.size());
  }
}

TEST_CASE("No pod name is exposed unless pod series are switched on") {
  const SampleMetrics off, on({.pod_series = true});
  CHECK(off.registry.Expose().find("pod-a") == std::string::npos);
  CHECK(on.registry.Expose().find("pod=\"pod-a\"") != std::string::npos);
}

TEST_CASE("The number of series is bounded by nodes and devices, whatever the number of pods") {
  SampleMetrics sample;
  const auto lines = [&] {
    const auto text = sample.registry.Expose();
    return std::count(text.begin(), text.end(), '\n');
  };
  const auto before = lines();
  for (int i = 0; i < 50; ++i) sample.cluster.ObservePod(Bound("extra-" + std::to_string(i), ShareOf("n1", "n1-gpu0", 1, 0)));
  sample.cluster.Publish();
  CHECK(lines() == before);
}

TEST_CASE("What a hostile node writes into its inventory cannot spoil a scrape") {
  SampleMetrics sample;
  scheduler::NodeObservation hostile = Node("evil").Gpu(1000);
  hostile.inventory.devices[0].uuid = "a\"} 1\nfake_metric{x=\"\\";
  hostile.inventory.devices[0].model = "\xff\xfe" + std::string(100'000, 'x');
  sample.cluster.ObserveNode(hostile);
  sample.cluster.Publish();
  const auto text = sample.registry.Expose();
  CHECK(text.find("\nfake_metric") == std::string::npos);
  CHECK(text.find('\xff') == std::string::npos);
  CHECK(text.size() < 100'000);
}

TEST_CASE("Two scrapes of the same state have the same order") {
  const SampleMetrics sample({.pod_series = true});
  std::vector<std::string> once, twice;
  for (auto* names : {&once, &twice}) {
    for (const auto& [name, spec] : CollectorRegistry::All()) {
      for (const auto& family : Collected(spec, sample.cluster, kEverything)) names->push_back(family.name);
    }
  }
  CHECK(once == twice);
}

}  // namespace
}  // namespace partage::test
