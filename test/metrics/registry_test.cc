// SPDX-License-Identifier: Apache-2.0

#include "metrics/registry.h"

#include <prometheus/metric_family.h>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

namespace partage::metrics {
namespace {

const Desc kHits{Desc::Type::kCounter, "test_hits_total", "Hits.", {"outcome"}, {}};
const Desc kTook{Desc::Type::kHistogram, "test_took_seconds", "Time taken.", {}, {0.1, 1}};
const Desc kLevel{Desc::Type::kGauge, "test_level", "Level.", {"tank"}, {}};

bool Has(const Registry& registry, const std::string& line) {
  return ("\n" + registry.Expose()).find("\n" + line + "\n") != std::string::npos;
}

TEST_CASE("A counter counts, one series for each label value") {
  Registry registry;
  const auto good = registry.GetCounter(kHits, {"good"});
  good.Inc();
  good.Inc(2);
  registry.GetCounter(kHits, {"bad"}).Inc();
  CHECK(Has(registry, "# TYPE test_hits_total counter"));
  CHECK(Has(registry, "# HELP test_hits_total Hits."));
  CHECK(Has(registry, "test_hits_total{outcome=\"good\"} 3"));
  CHECK(Has(registry, "test_hits_total{outcome=\"bad\"} 1"));
}

TEST_CASE("The same desc and values are the same series") {
  Registry registry;
  registry.GetCounter(kHits, {"good"}).Inc();
  registry.GetCounter(kHits, {"good"}).Inc();
  CHECK(Has(registry, "test_hits_total{outcome=\"good\"} 2"));
}

TEST_CASE("A histogram sorts observations into the buckets of its desc") {
  Registry registry;
  const auto took = registry.GetHistogram(kTook);
  took.Observe(0.05);
  took.Observe(0.5);
  took.Observe(5);
  CHECK(Has(registry, "test_took_seconds_bucket{le=\"0.1\"} 1"));
  CHECK(Has(registry, "test_took_seconds_bucket{le=\"1\"} 2"));
  CHECK(Has(registry, "test_took_seconds_bucket{le=\"+Inf\"} 3"));
  CHECK(Has(registry, "test_took_seconds_count 3"));
}

TEST_CASE("A gauge has the value set last") {
  Registry registry;
  registry.SetGauge(kLevel, 1, {"a"});
  registry.SetGauge(kLevel, 7.5, {"a"});
  CHECK(Has(registry, "test_level{tank=\"a\"} 7.5"));
}

TEST_CASE("Handles without a series count nothing") {
  Registry::Counter().Inc();
  Registry::Histogram().Observe(1);
}

TEST_CASE("Counting from many threads loses nothing") {
  Registry registry;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) registry.GetCounter(kHits, {"good"}).Inc();
    });
  }
  threads.clear();
  CHECK(Has(registry, "test_hits_total{outcome=\"good\"} 20000"));
}

prometheus::MetricFamily OneGauge(const std::string& name) {
  prometheus::MetricFamily family{name, "Help.", prometheus::MetricType::Gauge, {{}}};
  family.metric[0].gauge.value = 1;
  return family;
}

TEST_CASE("A collector is asked at every scrape") {
  Registry registry;
  int scrapes = 0;
  registry.AddCollector([&](const Registry::Sink& emit) {
    ++scrapes;
    emit(OneGauge("test_collected"));
  });
  CHECK(Has(registry, "test_collected 1"));
  CHECK(Has(registry, "test_collected 1"));
  CHECK(scrapes == 2);
}

TEST_CASE("A collector that throws hides no other metric") {
  Registry registry;
  registry.AddCollector([](const Registry::Sink& emit) {
    emit(OneGauge("test_before"));
    throw std::runtime_error("no state");
  });
  registry.AddCollector([](const Registry::Sink& emit) { emit(OneGauge("test_other")); });
  CHECK(Has(registry, "test_before 1"));
  CHECK(Has(registry, "test_other 1"));
}

TEST_CASE("A family without samples is left out") {
  Registry registry;
  registry.AddCollector([](const Registry::Sink& emit) { emit({"test_empty", "Help.", prometheus::MetricType::Gauge, {}}); });
  CHECK(registry.Expose().empty());
}

}  // namespace
}  // namespace partage::metrics
