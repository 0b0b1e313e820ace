// SPDX-License-Identifier: Apache-2.0
#include "vendors/annotation_parser.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/ranges.h>

#include "base/text.h"

namespace partage::vendors {
namespace {

constexpr std::string_view kOwnPrefix = "partage.dev/";
constexpr std::string_view kHamiPrefix = "hami.io/";

/// An annotation as the user wrote it.
struct Given {
  std::string key;
  std::string_view value;
};

template <class T>
void AddOnce(std::vector<T>& list, T value) {
  if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(std::move(value));
}

/// strconv.ParseBool of Go, which is what HAMi understands.
std::optional<bool> ParseGoBool(std::string_view text) {
  const auto is_one_of = [&](auto... words) { return ((text == words) || ...); };
  if (is_one_of("1", "t", "T", "TRUE", "true", "True")) return true;
  if (is_one_of("0", "f", "F", "FALSE", "false", "False")) return false;
  return std::nullopt;
}

class AnnotationParser {
 public:
  AnnotationParser(const PodInput& pod, std::vector<std::string_view> vendor_prefixes, const PolicyNames& policies, Problem& problem)
      : pod_(pod), vendor_prefixes_(std::move(vendor_prefixes)), policies_(policies), problem_(problem) {
    vendor_prefixes_.push_back(kOwnPrefix);
  }

  void Constraints(device::DeviceConstraints& constraints) const {
    List("use-gpuuuid", constraints.use_uuids);
    List("nouse-gpuuuid", constraints.nouse_uuids);
    List("use-gputype", constraints.use_models);
    List("nouse-gputype", constraints.nouse_models);
    Flag("numa-bind", constraints.numa_bind);
    Modes("vgpu-mode", constraints.modes);
  }

  void NodePolicy(std::optional<std::string>& policy) const {
    const auto given = FindHami("node-scheduler-policy");
    if (given && IsKnown(*given, given->value, policies_.node, "node")) policy = given->value;
  }

  void DevicePolicies(std::vector<std::string>& chain) const {
    const auto given = FindHami("gpu-scheduler-policy");
    if (!given) return;
    for (auto& name : SplitList(given->value)) {
      if (IsKnown(*given, name, policies_.device, "device")) AddOnce(chain, std::move(name));
    }
  }

  void Weights(device::ScoringWeights& weights) const {
    const auto given = FindHami("device-scoring-weights");
    if (!given) return;
    device::ScoringWeights read{.slot = -1, .core = -1, .memory = -1};
    bool well_formed = true;
    for (const auto part : Split(given->value, ',')) well_formed = Weight(Trim(part), read) && well_formed;
    const bool complete = read.slot >= 0 && read.core >= 0 && read.memory >= 0 && read.slot + read.core + read.memory > 0;
    if (!well_formed || !complete) {
      return problem_.Report("annotation {} {} is not like \"slot=1,core=1,memory=3\": these three, each from 0 to {}, not all 0",
                             given->key, Quoted(given->value), kMaxWeight);
    }
    weights = read;
  }

 private:
  static constexpr std::int32_t kMaxWeight = 1'000'000;

  std::optional<Given> FindHami(std::string_view name) const { return Find({kHamiPrefix, kOwnPrefix}, name); }

  std::optional<Given> Find(const std::vector<std::string_view>& prefixes, std::string_view name) const {
    std::optional<Given> found;
    for (const auto prefix : prefixes) {
      auto key = fmt::format("{}{}", prefix, name);
      const auto annotation = pod_.annotations.find(key);
      if (annotation == pod_.annotations.end() || Trim(annotation->second).empty()) continue;
      Given given{std::move(key), Trim(annotation->second)};
      if (found && found->value != given.value) {
        problem_.Report("annotations {} {} and {} {} contradict each other; keep one", found->key, Quoted(found->value), given.key,
                        Quoted(given.value));
      }
      found = std::move(given);
    }
    return found;
  }

  void List(std::string_view name, std::vector<std::string>& list) const {
    if (const auto given = Find(vendor_prefixes_, name)) list = SplitList(given->value);
  }

  void Flag(std::string_view name, bool& flag) const {
    const auto given = Find(vendor_prefixes_, name);
    if (!given) return;
    const auto value = ParseGoBool(given->value);
    if (!value) problem_.Report("annotation {} {} is neither true nor false", given->key, Quoted(given->value));
    flag = value.value_or(false);
  }

  void Modes(std::string_view name, std::vector<device::Mode>& modes) const {
    const auto given = Find(vendor_prefixes_, name);
    if (!given) return;
    for (const auto& word : SplitList(given->value)) {
      const auto mode = device::ParseMode(word);
      if (!mode)
        return problem_.Report("annotation {}: the mode {} is unknown; use hami-core (shared), exclusive, mig or mps", given->key,
                               Quoted(word));
      AddOnce(modes, *mode);
    }
  }

  bool IsKnown(const Given& given, std::string_view name, const std::vector<std::string>& known, std::string_view kind) const {
    if (std::find(known.begin(), known.end(), name) != known.end()) return true;
    problem_.Report("annotation {}: {} is no {} policy; use {}", given.key, Quoted(name), kind, fmt::join(known, ", "));
    return false;
  }

  // One "core=2"; false when it is malformed or comes twice.
  static bool Weight(std::string_view text, device::ScoringWeights& weights) {
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) return false;
    const auto name = Trim(text.substr(0, equals));
    auto* weight = name == "slot" ? &weights.slot : name == "core" ? &weights.core : name == "memory" ? &weights.memory : nullptr;
    if (weight == nullptr || *weight >= 0) return false;
    const auto digits = Trim(text.substr(equals + 1));
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *weight);
    return error == std::errc() && end == digits.data() + digits.size() && *weight >= 0 && *weight <= kMaxWeight;
  }

  const PodInput& pod_;
  std::vector<std::string_view> vendor_prefixes_;
  const PolicyNames& policies_;
  Problem& problem_;
};

}  // namespace

void ParseAnnotations(const PodInput& pod, const std::vector<std::string_view>& prefixes, const PolicyNames& policies,
                      device::PodRequest& request, Problem& problem) {
  const AnnotationParser parser(pod, prefixes, policies, problem);
  parser.Constraints(request.constraints);
  parser.NodePolicy(request.node_policy);
  parser.DevicePolicies(request.device_policies);
  parser.Weights(request.weights);
}

}  // namespace partage::vendors
