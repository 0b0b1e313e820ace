// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <prometheus/metric_family.h>

#include "metrics/registry.h"

namespace partage::metrics {

/// Builds one metric family sample by sample. Not thread-safe.
class Family {
 public:
  explicit Family(const Desc& desc);

  /// Label values in the order of desc.labels. REQUIRES: as many as labels, and a desc of that type.
  void AddGauge(double value, std::initializer_list<std::string_view> values = {});
  void AddCounter(double value, std::initializer_list<std::string_view> values = {});
  void AddSummary(std::uint64_t count, double sum, std::initializer_list<std::string_view> values = {});

  prometheus::MetricFamily Take() { return std::move(family_); }

 private:
  prometheus::ClientMetric& Add(Desc::Type type, std::initializer_list<std::string_view> values);

  const Desc& desc_;
  prometheus::MetricFamily family_;
};

/// A label value that cannot spoil a scrape: at most 256 bytes, and bytes that are not UTF-8 replaced. Names in inventories are what a node wrote.
std::string LabelValue(std::string_view text);

/// A family of one sample without labels.
void EmitGauge(const Registry::Sink& emit, const Desc& desc, double value);

}  // namespace partage::metrics
