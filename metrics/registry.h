// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Counter;
class Histogram;
struct MetricFamily;
}  // namespace prometheus

namespace partage::metrics {

/// A metric's identity as it stands in metrics/catalog.h or in a collector. Names follow Prometheus' conventions: prefix partage_, base units,
/// counters end in _total.
struct Desc {
  enum class Type { kCounter, kGauge, kHistogram, kSummary };
  Type type;
  std::string_view name;
  std::string_view help;                 ///< one sentence
  std::vector<std::string_view> labels;  ///< bounded sets only: never pod names
  std::vector<double> buckets;           ///< histograms only, seconds
};

/// Counted and timed events, plus collectors that read state at scrape time. Behind it: prometheus-cpp. Thread-safe.
class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// One series, resolved once, then cheap enough for hot paths (one atomic add). Valid while the registry lives; one made without a series
  /// counts nothing. Thread-safe.
  class Counter {
   public:
    Counter() = default;
    explicit Counter(prometheus::Counter& counter) : counter_(&counter) {}
    void Inc(double by = 1) const;

   private:
    prometheus::Counter* counter_ = nullptr;
  };
  /// Likewise; one uncontended lock.
  class Histogram {
   public:
    Histogram() = default;
    explicit Histogram(prometheus::Histogram& histogram) : histogram_(&histogram) {}
    void Observe(double value) const;

   private:
    prometheus::Histogram* histogram_ = nullptr;
  };

  /// Values in the order of desc.labels. The same desc and values give the same series. REQUIRES: as many values as labels, and the desc's type.
  Counter GetCounter(const Desc& desc, const std::vector<std::string>& values = {});
  Histogram GetHistogram(const Desc& desc, const std::vector<std::string>& values = {});
  void SetGauge(const Desc& desc, double value, const std::vector<std::string>& values = {});

  /// Takes one family at a time, which is written out and freed before the next is made: a scrape of a large cluster never holds all of it twice.
  using Sink = std::function<void(prometheus::MetricFamily)>;
  using Collector = std::function<void(const Sink&)>;
  /// Called at each scrape to add families computed from state, perhaps by two threads at once. One that throws is logged; the others' families
  /// are exposed all the same.
  void AddCollector(Collector collect);

  /// The text exposition (version 0.0.4) of everything.
  std::string Expose() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::metrics
