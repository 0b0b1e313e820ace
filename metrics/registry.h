// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
struct MetricFamily;
}

namespace partage::metrics {

/// A metric's identity as it stands in metrics/catalog.h. Names follow Prometheus' conventions: prefix partage_, base units, counters end in _total.
struct Desc {
  enum class Type { kCounter, kGauge, kHistogram };
  Type type;
  std::string_view name;
  std::string_view help;                       ///< one sentence
  std::vector<std::string_view> labels;        ///< bounded sets only: never pod names
  std::vector<double> buckets;                 ///< histograms only, seconds
};

/// Counted and timed events, plus collectors that read state at scrape time. Behind it: prometheus-cpp. Thread-safe.
class Registry {
 public:
  Registry();
  ~Registry();

  /// Resolved once, then cheap enough for hot paths (one atomic add).
  class Counter {
   public:
    void Inc(double by = 1) const;
   private:
    friend class Registry;
    void* counter_ = nullptr;
  };
  class Histogram {
   public:
    void Observe(double value) const;
   private:
    friend class Registry;
    void* histogram_ = nullptr;
  };

  /// Values in the order of desc.labels. The same desc and values give the same series.
  Counter GetCounter(const Desc& desc, const std::vector<std::string>& values = {});
  Histogram GetHistogram(const Desc& desc, const std::vector<std::string>& values = {});
  void SetGauge(const Desc& desc, double value, const std::vector<std::string>& values = {});

  /// Called at each scrape to add families computed from state.
  void AddCollector(std::function<void(std::vector<prometheus::MetricFamily>&)> collect);

  /// The text exposition (version 0.0.4) of everything.
  std::string Expose() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::metrics
