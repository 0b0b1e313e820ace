// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <optional>

#include "base/problem.h"
#include "base/quantity.h"
#include "base/text.h"
#include "vendors/annotation_parser.h"
#include "vendors/vendor.h"

namespace partage::vendors {
namespace {

constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMiB = 1 << 20;

/// A resource of a container as the user wrote it.
struct Given {
  const std::string& resource;
  const std::string& text;
  std::int64_t value = 0;
};

/// One container's request to one vendor.
class RequestParser {
 public:
  RequestParser(const Vendor& vendor, const ContainerInput& container, std::vector<std::string>& warnings, Problem& problem)
      : vendor_(vendor), container_(container), warnings_(warnings), problem_(problem) {}

  /// REQUIRES: the container asks the vendor for devices.
  device::DeviceRequest Request() {
    device::DeviceRequest request;
    request.vendor = vendor_.name;
    request.count = Count();
    const auto memory = Memory();
    const auto percent = Percent();
    const bool by_mib = memory && memory->value > 0;
    const bool by_percent = !by_mib && percent && percent->value > 0;
    if (by_mib && percent && percent->value > 0) {
      Warn("{} {} wins over {} {}", memory->resource, memory->text, percent->resource, percent->text);
    }
    request.mib = by_mib ? static_cast<std::int32_t>(memory->value * vendor_.memory_factor) : by_percent ? 0 : vendor_.default_mib;
    request.percent = by_percent ? static_cast<std::int32_t>(percent->value) : 100;
    const bool whole_card = by_percent ? request.percent == 100 : !memory && !percent;
    request.cores = Cores(whole_card);
    return request;
  }

  std::int32_t Priority() {
    const auto given = Read(vendor_.priority_resource, "give 0 (high) or 1 (low)");
    if (!given) return -1;
    if (given->value > 1) Refuse(*given, "is unknown; give 0 (high) or 1 (low)");
    return given->value == 1 ? 1 : 0;
  }

 private:
  template <class... Args>
  void Warn(fmt::format_string<Args...> format, Args&&... args) {
    warnings_.push_back(fmt::format("container {}: {}", container_.name, fmt::format(format, std::forward<Args>(args)...)));
  }

  void Refuse(const Given& given, std::string_view why) {
    problem_.Report("container {}: {} {} {}", container_.name, given.resource, Quoted(given.text), why);
  }

  const std::string* Find(const std::string& resource) const {
    if (resource.empty()) return nullptr;
    for (const auto* quantities : {&container_.limits, &container_.requests}) {
      if (const auto found = quantities->find(resource); found != quantities->end()) return &found->second;
    }
    return nullptr;
  }

  /// The quantity as a whole number that is not negative; nothing where it is absent. The way out ends the message of a refusal.
  std::optional<Given> Read(const std::string& resource, std::string_view way_out) { return Read(resource, way_out, way_out); }

  std::optional<Given> Read(const std::string& resource, std::string_view not_whole, std::string_view negative) {
    const auto* text = Find(resource);
    if (text == nullptr) return std::nullopt;
    Given given{resource, *text};
    if (const auto number = ParseWholeQuantity(*text)) {
      given.value = *number;
      if (given.value < 0) Refuse(given, fmt::format("is negative; {}", negative));
    } else {
      problem_.Report("container {}: {} {}; {}", container_.name, resource, number.error().message, not_whole);
    }
    return given;
  }

  std::int32_t Count() {
    const auto whole = vendor_.percent_resource.empty() ? std::string("give 1 or more")
                                                        : fmt::format("for a part of a card give 1 and {}", vendor_.percent_resource);
    const auto given = Read(vendor_.count_resource, whole, "give 1 or more");
    if (!given) return vendor_.default_count;
    constexpr auto kMost = static_cast<std::int64_t>(device::kMaxDevicesOfNode);
    if (given->value > kMost) Refuse(*given, fmt::format("is more than any node has; give at most {}", kMost));
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(given->value, 1, kMost));
  }

  std::optional<Given> Memory() {
    auto given = Read(vendor_.memory_resource, "give MiB without a unit");
    if (given && IsBytes(*given)) {
      Refuse(*given, NotMiB(given->value));
      given->value = 0;  // nothing to calculate with
    }
    return given;
  }

  // Nobody means a million times the memory of a card: 16Gi is bytes, and so is 17179869184. The API server writes 3000 as 3k, so k is no unit.
  bool IsBytes(const Given& given) const {
    const bool unit = !given.text.empty() && std::string_view("iMGTPE").find(given.text.back()) != std::string_view::npos;
    return given.value > kMaxInt32 / vendor_.memory_factor || (unit && given.value >= kMiB);
  }

  std::string NotMiB(std::int64_t bytes) const {
    const auto unit = vendor_.memory_factor == 1 ? std::string("MiB") : fmt::format("units of {} MiB", vendor_.memory_factor);
    const auto per_unit = kMiB * vendor_.memory_factor;
    const auto meant = std::max<std::int64_t>(1, bytes / per_unit + (bytes % per_unit >= per_unit / 2 ? 1 : 0));
    if (meant > kMaxInt32 / vendor_.memory_factor)
      return fmt::format("is not a number of {}; 16 GiB are {}", unit, (16 << 10) / vendor_.memory_factor);
    return fmt::format("is not a number of {}; did you mean {}?", unit, meant);
  }

  std::optional<Given> Percent() {
    const auto given = Read(vendor_.percent_resource, "give 1 to 100");
    if (given && given->value > 100) {
      Refuse(*given, fmt::format("is more than a whole card; give 1 to 100, and {} for more cards", vendor_.count_resource));
    }
    return given;
  }

  /// Without a word about cores, who takes a whole card's memory without naming an amount wants it alone.
  std::int32_t Cores(bool whole_card) {
    const auto given = Read(vendor_.cores_resource, "give 0 to 100");
    if (!given) return whole_card && !vendor_.cores_resource.empty() ? 100 : vendor_.default_cores;
    if (given->value > 100) Warn("{} {} counts as 100", given->resource, given->text);
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(given->value, 0, 100));
  }

  const Vendor& vendor_;
  const ContainerInput& container_;
  std::vector<std::string>& warnings_;
  Problem& problem_;
};

}  // namespace

Result<device::PodRequest> Catalog::Parse(const PodInput& pod, const PolicyNames& policies) const {
  Problem problem;
  device::PodRequest request;
  std::vector<std::string_view> prefixes;
  for (const auto& input : pod.containers) {
    auto& container = request.containers.emplace_back(device::ContainerRequest{.name = input.name, .kind = input.kind});
    for (const auto& vendor : vendors_) {
      if (!Asks(vendor, input.limits, input.requests)) continue;
      RequestParser parser(vendor, input, request.warnings, problem);
      container.devices.push_back(parser.Request());
      container.priority = std::max(container.priority, parser.Priority());
      if (!vendor.annotation_prefix.empty()) prefixes.push_back(vendor.annotation_prefix);
    }
  }
  std::sort(prefixes.begin(), prefixes.end());
  prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
  if (request.wants_devices()) ParseAnnotations(pod, prefixes, policies, request, problem);
  if (problem.any()) return Fail(problem.error());
  return request;
}

}  // namespace partage::vendors
