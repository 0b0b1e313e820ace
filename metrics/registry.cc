// SPDX-License-Identifier: Apache-2.0

#include "metrics/registry.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <ostream>
#include <streambuf>

#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"

namespace partage::metrics {
namespace {

/// Writes into a string that is then moved out, where std::ostringstream would copy it.
class StringSink final : public std::streambuf {
 public:
  explicit StringSink(std::string& text) : text_(text) {}

 private:
  int_type overflow(int_type c) override {
    text_ += static_cast<char>(c);
    return c;
  }
  std::streamsize xsputn(const char* bytes, std::streamsize size) override {
    text_.append(bytes, static_cast<std::size_t>(size));
    return size;
  }

  std::string& text_;
};

prometheus::Labels LabelsOf(const Desc& desc, const std::vector<std::string>& values) {
  PARTAGE_CHECK(values.size() == desc.labels.size(), "as many label values as labels");
  prometheus::Labels labels;
  for (std::size_t i = 0; i < values.size(); ++i) labels.emplace(desc.labels[i], values[i]);
  return labels;
}

}  // namespace

class Registry::Impl {
 public:
  /// The family of a desc, made by one of prometheus-cpp's builders; the same one each time.
  template <class Builder>
  auto& FamilyOf(Builder builder, const Desc& desc, Desc::Type type) {
    PARTAGE_CHECK(desc.type == type, "a metric is used as the type its desc has");
    return builder.Name(std::string(desc.name)).Help(std::string(desc.help)).Register(registry_);
  }

  void AddCollector(Collector collect) {
    MutexLock lock(mutex_);
    collectors_.push_back(std::move(collect));
  }

  std::string Expose() const {
    std::string text;
    text.reserve(last_size_ + last_size_ / 8);
    StringSink sink(text);
    std::ostream out(&sink);
    serializer_.Serialize(out, registry_.Collect());
    for (const auto& collect : Collectors()) RunOne(collect, out);
    last_size_ = text.size();
    return text;
  }

 private:
  std::vector<Collector> Collectors() const {
    MutexLock lock(mutex_);
    return collectors_;
  }

  void RunOne(const Collector& collect, std::ostream& out) const {
    try {
      collect([&](prometheus::MetricFamily family) { Write(std::move(family), out); });
    } catch (const std::exception& e) {
      log::error("some metrics are missing: {}", e.what());
    }
  }

  void Write(prometheus::MetricFamily family, std::ostream& out) const {
    if (family.metric.empty()) return;
    std::vector<prometheus::MetricFamily> families;
    families.push_back(std::move(family));
    serializer_.Serialize(out, families);
  }

  prometheus::Registry registry_;
  const prometheus::TextSerializer serializer_{};
  mutable std::atomic<std::size_t> last_size_ = 4096;
  mutable Mutex mutex_;
  std::vector<Collector> collectors_ PARTAGE_GUARDED_BY(mutex_);
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

void Registry::Counter::Inc(double by) const {
  if (counter_ != nullptr) counter_->Increment(by);
}

void Registry::Histogram::Observe(double value) const {
  if (histogram_ != nullptr) histogram_->Observe(value);
}

Registry::Counter Registry::GetCounter(const Desc& desc, const std::vector<std::string>& values) {
  return Counter(impl_->FamilyOf(prometheus::BuildCounter(), desc, Desc::Type::kCounter).Add(LabelsOf(desc, values)));
}

Registry::Histogram Registry::GetHistogram(const Desc& desc, const std::vector<std::string>& values) {
  return Histogram(impl_->FamilyOf(prometheus::BuildHistogram(), desc, Desc::Type::kHistogram).Add(LabelsOf(desc, values), desc.buckets));
}

void Registry::SetGauge(const Desc& desc, double value, const std::vector<std::string>& values) {
  impl_->FamilyOf(prometheus::BuildGauge(), desc, Desc::Type::kGauge).Add(LabelsOf(desc, values)).Set(value);
}

void Registry::AddCollector(Collector collect) { impl_->AddCollector(std::move(collect)); }

std::string Registry::Expose() const { return impl_->Expose(); }

}  // namespace partage::metrics
