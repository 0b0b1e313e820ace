// SPDX-License-Identifier: Apache-2.0

#include "metrics/collectors/family.h"

#include <algorithm>

#include "base/check.h"

namespace partage::metrics {
namespace {

constexpr std::size_t kLongest = 256;

prometheus::MetricType TypeOf(Desc::Type type) {
  switch (type) {
    case Desc::Type::kCounter: return prometheus::MetricType::Counter;
    case Desc::Type::kGauge: return prometheus::MetricType::Gauge;
    case Desc::Type::kHistogram: return prometheus::MetricType::Histogram;
    case Desc::Type::kSummary: return prometheus::MetricType::Summary;
  }
  return prometheus::MetricType::Untyped;
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// Length of the sequence its first byte announces; 0 for a byte that cannot be first.
std::size_t SequenceLength(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/// Overlong forms, surrogates and what lies past U+10FFFF: told from the second byte.
bool IsForbidden(unsigned char first, unsigned char second) {
  return (first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) || (first == 0xf0 && second < 0x90) ||
         (first == 0xf4 && second >= 0x90);
}

/// Bytes of the UTF-8 sequence at the front; 0 when there is none.
std::size_t Utf8Prefix(std::string_view text) {
  const auto length = SequenceLength(static_cast<unsigned char>(text[0]));
  if (length == 0 || length > text.size()) return 0;
  const auto rest = text.substr(1, length - 1);
  if (!std::all_of(rest.begin(), rest.end(), IsContinuation)) return 0;
  return length > 2 && IsForbidden(static_cast<unsigned char>(text[0]), static_cast<unsigned char>(text[1])) ? 0 : length;
}

}  // namespace

std::string LabelValue(std::string_view text) {
  if (text.size() <= kLongest && IsAscii(text)) return std::string(text);
  std::string safe;
  while (!text.empty() && safe.size() < kLongest - 3) {
    const auto length = Utf8Prefix(text);
    safe += length > 0 ? text.substr(0, length) : "?";
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return safe;
}

Family::Family(const Desc& desc) : desc_(desc) {
  family_.name = desc.name;
  family_.help = desc.help;
  family_.type = TypeOf(desc.type);
}

prometheus::ClientMetric& Family::Add(Desc::Type type, std::initializer_list<std::string_view> values) {
  PARTAGE_CHECK(desc_.type == type && values.size() == desc_.labels.size(), "a sample has the type and the labels of its desc");
  auto& metric = family_.metric.emplace_back();
  metric.label.reserve(values.size());
  auto label = desc_.labels.begin();
  for (const auto value : values) metric.label.push_back({std::string(*label++), LabelValue(value)});
  return metric;
}

void Family::AddGauge(double value, std::initializer_list<std::string_view> values) { Add(Desc::Type::kGauge, values).gauge.value = value; }

void Family::AddCounter(double value, std::initializer_list<std::string_view> values) {
  Add(Desc::Type::kCounter, values).counter.value = value;
}

void Family::AddSummary(std::uint64_t count, double sum, std::initializer_list<std::string_view> values) {
  auto& summary = Add(Desc::Type::kSummary, values).summary;
  summary.sample_count = count;
  summary.sample_sum = sum;
}

void EmitGauge(const Registry::Sink& emit, const Desc& desc, double value) {
  Family family(desc);
  family.AddGauge(value);
  emit(family.Take());
}

}  // namespace partage::metrics
