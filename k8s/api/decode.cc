// SPDX-License-Identifier: Apache-2.0
#include "k8s/api/decode.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <limits>
#include <string>

namespace partage::k8s {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

std::string_view TypeName(element value) {
  switch (value.type()) {
    case element_type::ARRAY: return "an array";
    case element_type::OBJECT: return "an object";
    case element_type::STRING: return "a string";
    case element_type::BOOL: return "a boolean";
    case element_type::NULL_VALUE: return "null";
    default: return "a number";
  }
}

auto WrongType(element value, std::string_view wanted) { return Fail(Code::kInvalid, " is {}, not {}", TypeName(value), wanted); }

// Errors start behind the name of the faulty member; each level up puts its part of the path in front: " is null" → ".name is null" → "metadata.name is null".
auto Under(std::string_view open, std::string_view key, std::string_view close, const Error& error) {
  return Fail(error.code, "{}{}{}{}", open, key, close, error.message);
}

template <class T>
using Read = Result<> (*)(element value, T& into);

// A member of T and how to read it.
template <class T>
struct Member {
  std::string_view key;
  Read<T> read;
};

// Reads the members of `value` that are in the table, in one pass over the document. Null members count as absent.
template <class T, std::size_t N>
Result<> ReadMembers(element value, T& into, const Member<T> (&table)[N]) {
  simdjson::dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return WrongType(value, "an object");
  for (const auto field : object) {
    for (const auto& member : table) {
      if (field.key != member.key) continue;
      if (field.value.is_null()) break;
      if (auto done = member.read(field.value, into); !done) return Under(".", field.key, "", done.error());
      break;
    }
  }
  return {};
}

// Calls `read` for each item of an array.
template <class F>
Result<> ReadItems(element value, F read) {
  simdjson::dom::array array;
  if (value.get(array) != simdjson::SUCCESS) return WrongType(value, "an array");
  std::size_t index = 0;
  for (const auto item : array) {
    if (auto done = read(item); !done) return Under("[", std::to_string(index), "]", done.error());
    ++index;
  }
  return {};
}

Result<> ReadString(element value, std::string& into) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return WrongType(value, "a string");
  into.assign(text);
  return {};
}

template <class T, std::string T::*Field>
Result<> String(element value, T& into) {
  return ReadString(value, into.*Field);
}

// An opaque string by contract; a decimal number on every known server. 0 stands for anything else.
template <class T>
Result<> ResourceVersion(element value, T& into) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return WrongType(value, "a string");
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into.resource_version);
  if (error != std::errc() || end != text.data() + text.size()) into.resource_version = 0;
  return {};
}

template <class T>
Result<> Annotations(element value, T& into) {
  simdjson::dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return WrongType(value, "an object");
  for (const auto field : object) {
    if (auto done = ReadString(field.value, into.annotations[std::string(field.key)]); !done) {
      return Under("[\"", field.key, "\"]", done.error());
    }
  }
  return {};
}

Result<> Deleting(element value, Pod& pod) {
  if (!value.is_string()) return WrongType(value, "a string");
  pod.deleting = true;
  return {};
}

// As the API server writes times: 2026-01-02T03:04:05Z.
Result<> CreationTime(element value, Pod& pod) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return WrongType(value, "a string");
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (std::sscanf(std::string(text).c_str(), "%4d-%2d-%2dT%2d:%2d:%2d", &year, &month, &day, &hour, &minute, &second) != 6) return {};
  const std::chrono::year_month_day date(std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!date.ok() || year < 1970 || year > 2105) return {};
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  pod.created = static_cast<std::uint32_t>(std::int64_t{days} * 86400 + hour * 3600 + minute * 60 + second);
  return {};
}

Result<> PreemptionPolicy(element value, Pod& pod) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return WrongType(value, "a string");
  pod.never_preempts = text == "Never";
  return {};
}

Result<> Quantity(element value, std::string& into) {
  switch (value.type()) {
    case element_type::STRING: return ReadString(value, into);
    case element_type::INT64: into = std::to_string(std::int64_t(value)); return {};
    case element_type::UINT64: into = std::to_string(std::uint64_t(value)); return {};
    case element_type::DOUBLE: into = fmt::format("{}", double(value)); return {};
    default: return WrongType(value, "a quantity");
  }
}

template <class T, StringMap T::*Field>
Result<> ExtendedResources(element value, T& into) {
  simdjson::dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return WrongType(value, "an object");
  for (const auto field : object) {
    if (field.key.find('/') == field.key.npos) continue;
    if (auto done = Quantity(field.value, (into.*Field)[std::string(field.key)]); !done)
      return Under("[\"", field.key, "\"]", done.error());
  }
  return {};
}

Result<> RestartPolicy(element value, Container& into) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return WrongType(value, "a string");
  into.restart_always = text == "Always";
  return {};
}

constexpr Member<Container> kResources[] = {
    {"limits", ExtendedResources<Container, &Container::limits>},
    {"requests", ExtendedResources<Container, &Container::requests>},
};

Result<> Resources(element value, Container& into) { return ReadMembers(value, into, kResources); }

constexpr Member<Container> kContainer[] = {
    {"name", String<Container, &Container::name>},
    {"resources", Resources},
};
constexpr Member<Container> kInitContainer[] = {
    {"name", String<Container, &Container::name>},
    {"resources", Resources},
    {"restartPolicy", RestartPolicy},
};

Result<> Containers(element value, Pod& pod) {
  return ReadItems(value, [&](element item) { return ReadMembers(item, pod.containers.emplace_back(), kContainer); });
}

Result<> InitContainers(element value, Pod& pod) {
  return ReadItems(value, [&](element item) { return ReadMembers(item, pod.init_containers.emplace_back(), kInitContainer); });
}

Result<> Priority(element value, Pod& pod) {
  std::int64_t number = 0;
  if (value.get(number) != simdjson::SUCCESS) return WrongType(value, "an integer");
  if (number < std::numeric_limits<std::int32_t>::min() || number > std::numeric_limits<std::int32_t>::max()) {
    return Fail(Code::kInvalid, " is {}, which does not fit in 32 bits", number);
  }
  pod.priority = static_cast<std::int32_t>(number);
  return {};
}

Result<> PreferredTerms(element value, Pod& pod) {
  simdjson::dom::array terms;
  if (value.get(terms) != simdjson::SUCCESS) return WrongType(value, "an array");
  if (terms.begin() != terms.end()) pod.has_soft_preferences = true;
  return {};
}

Result<> NamespacesOfTerm(element value, Pod& pod) {
  simdjson::dom::array names;
  if (value.get(names) != simdjson::SUCCESS) return WrongType(value, "an array");
  if (names.begin() != names.end()) pod.cross_namespace_affinity = true;
  return {};
}

Result<> NamespaceSelectorOfTerm(element, Pod& pod) {
  pod.cross_namespace_affinity = true;
  return {};
}

constexpr Member<Pod> kPodAffinityTerm[] = {{"namespaces", NamespacesOfTerm}, {"namespaceSelector", NamespaceSelectorOfTerm}};

Result<> PodAffinityTerm(element value, Pod& pod) { return ReadMembers(value, pod, kPodAffinityTerm); }

constexpr Member<Pod> kWeightedPodAffinityTerm[] = {{"podAffinityTerm", PodAffinityTerm}};

Result<> RequiredPodTerms(element value, Pod& pod) {
  return ReadItems(value, [&](element item) { return PodAffinityTerm(item, pod); });
}

Result<> PreferredPodTerms(element value, Pod& pod) {
  if (auto read = PreferredTerms(value, pod); !read) return read;
  return ReadItems(value, [&](element item) { return ReadMembers(item, pod, kWeightedPodAffinityTerm); });
}

constexpr Member<Pod> kNodeAffinityTerms[] = {{"preferredDuringSchedulingIgnoredDuringExecution", PreferredTerms}};
constexpr Member<Pod> kPodAffinityTerms[] = {
    {"requiredDuringSchedulingIgnoredDuringExecution", RequiredPodTerms},
    {"preferredDuringSchedulingIgnoredDuringExecution", PreferredPodTerms},
};

Result<> NodeAffinityTerms(element value, Pod& pod) { return ReadMembers(value, pod, kNodeAffinityTerms); }
Result<> PodAffinityTerms(element value, Pod& pod) { return ReadMembers(value, pod, kPodAffinityTerms); }

constexpr Member<Pod> kAffinity[] = {
    {"nodeAffinity", NodeAffinityTerms},
    {"podAffinity", PodAffinityTerms},
    {"podAntiAffinity", PodAffinityTerms},
};

Result<> Affinity(element value, Pod& pod) { return ReadMembers(value, pod, kAffinity); }

Result<> WhenUnsatisfiable(element value, Pod& pod) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return WrongType(value, "a string");
  if (text == "ScheduleAnyway") pod.has_soft_preferences = true;
  return {};
}

constexpr Member<Pod> kSpreadConstraint[] = {{"whenUnsatisfiable", WhenUnsatisfiable}};

Result<> SpreadConstraints(element value, Pod& pod) {
  return ReadItems(value, [&](element item) { return ReadMembers(item, pod, kSpreadConstraint); });
}

Result<> Deadline(element value, Pod& pod) {
  if (!value.is_int64() && !value.is_uint64()) return WrongType(value, "an integer");
  pod.has_deadline = true;
  return {};
}

Result<> QosClass(element value, Pod& pod) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return WrongType(value, "a string");
  pod.best_effort = text == "BestEffort";
  return {};
}

constexpr Member<Pod> kPodMetadata[] = {
    {"name", String<Pod, &Pod::name>},         {"namespace", String<Pod, &Pod::ns>}, {"uid", String<Pod, &Pod::uid>},
    {"resourceVersion", ResourceVersion<Pod>}, {"annotations", Annotations<Pod>},    {"deletionTimestamp", Deleting},
    {"creationTimestamp", CreationTime},
};
constexpr Member<Pod> kPodSpec[] = {
    {"nodeName", String<Pod, &Pod::node_name>},
    {"schedulerName", String<Pod, &Pod::scheduler_name>},
    {"initContainers", InitContainers},
    {"containers", Containers},
    {"affinity", Affinity},
    {"topologySpreadConstraints", SpreadConstraints},
    {"priority", Priority},
    {"priorityClassName", String<Pod, &Pod::priority_class>},
    {"activeDeadlineSeconds", Deadline},
    {"preemptionPolicy", PreemptionPolicy},
};
constexpr Member<Pod> kPodStatus[] = {
    {"phase", String<Pod, &Pod::phase>},
    {"qosClass", QosClass},
    {"nominatedNodeName", String<Pod, &Pod::nominated_node>},
};
constexpr Member<Pod> kPod[] = {
    {"metadata", [](element value, Pod& pod) { return ReadMembers(value, pod, kPodMetadata); }},
    {"spec", [](element value, Pod& pod) { return ReadMembers(value, pod, kPodSpec); }},
    {"status", [](element value, Pod& pod) { return ReadMembers(value, pod, kPodStatus); }},
};

constexpr Member<Node> kNodeMetadata[] = {
    {"name", String<Node, &Node::name>},
    {"uid", String<Node, &Node::uid>},
    {"resourceVersion", ResourceVersion<Node>},
    {"annotations", Annotations<Node>},
};
constexpr Member<Node> kNodeStatus[] = {
    {"allocatable", ExtendedResources<Node, &Node::allocatable>},
};
constexpr Member<Node> kNode[] = {
    {"metadata", [](element value, Node& node) { return ReadMembers(value, node, kNodeMetadata); }},
    {"status", [](element value, Node& node) { return ReadMembers(value, node, kNodeStatus); }},
};

Result<> Scopes(element value, ResourceQuota& quota) {
  return ReadItems(value, [&](element item) {
    quota.scopes.push_back({.scope = {}, .op = "Exists", .values = {}});
    return ReadString(item, quota.scopes.back().scope);
  });
}

Result<> ScopeValues(element value, ScopeRequirement& requirement) {
  return ReadItems(value, [&](element item) { return ReadString(item, requirement.values.emplace_back()); });
}

constexpr Member<ScopeRequirement> kScopeRequirement[] = {
    {"scopeName", String<ScopeRequirement, &ScopeRequirement::scope>},
    {"operator", String<ScopeRequirement, &ScopeRequirement::op>},
    {"values", ScopeValues},
};

Result<> ScopeExpressions(element value, ResourceQuota& quota) {
  return ReadItems(value, [&](element item) { return ReadMembers(item, quota.scopes.emplace_back(), kScopeRequirement); });
}

constexpr Member<ResourceQuota> kScopeSelector[] = {{"matchExpressions", ScopeExpressions}};
constexpr Member<ResourceQuota> kQuotaMetadata[] = {
    {"name", String<ResourceQuota, &ResourceQuota::name>},
    {"namespace", String<ResourceQuota, &ResourceQuota::ns>},
    {"uid", String<ResourceQuota, &ResourceQuota::uid>},
    {"resourceVersion", ResourceVersion<ResourceQuota>},
};
constexpr Member<ResourceQuota> kQuotaSpec[] = {
    {"hard", ExtendedResources<ResourceQuota, &ResourceQuota::hard>},
    {"scopes", Scopes},
    {"scopeSelector", [](element value, ResourceQuota& quota) { return ReadMembers(value, quota, kScopeSelector); }},
};
constexpr Member<ResourceQuota> kQuota[] = {
    {"metadata", [](element value, ResourceQuota& quota) { return ReadMembers(value, quota, kQuotaMetadata); }},
    {"spec", [](element value, ResourceQuota& quota) { return ReadMembers(value, quota, kQuotaSpec); }},
};

template <class T, std::size_t N>
Result<T> DecodeUnnamed(element document, std::string_view kind, const Member<T> (&table)[N]) {
  T object;
  if (auto done = ReadMembers(document, object, table); !done) {
    const auto& message = done.error().message;
    return Fail(Code::kInvalid, "{}{}", kind, message.starts_with('.') ? " " + message.substr(1) : message);
  }
  return object;
}

template <class T, std::size_t N>
Result<T> Decode(element document, std::string_view kind, const Member<T> (&table)[N]) {
  auto object = DecodeUnnamed(document, kind, table);
  if (object && object->name.empty()) return Fail(Code::kInvalid, "{} metadata.name is missing", kind);
  return object;
}

template <class T>
Result<T> DecodeText(std::string_view json, Result<T> (*decode)(element)) {
  simdjson::dom::parser parser;
  element document;
  if (const auto error = parser.parse(json.data(), json.size()).get(document); error != simdjson::SUCCESS) {
    return Fail(Code::kInvalid, "the document is not JSON: {}", simdjson::error_message(error));
  }
  return decode(document);
}

}  // namespace

Result<Pod> DecodePod(element object) { return Decode<Pod>(object, "Pod", kPod); }
Result<Pod> DecodeNewPod(element object) { return DecodeUnnamed<Pod>(object, "Pod", kPod); }
Result<Node> DecodeNode(element object) { return Decode<Node>(object, "Node", kNode); }
Result<ResourceQuota> DecodeResourceQuota(element object) { return Decode<ResourceQuota>(object, "ResourceQuota", kQuota); }
Result<Pod> DecodePodText(std::string_view json) { return DecodeText<Pod>(json, DecodePod); }
Result<Node> DecodeNodeText(std::string_view json) { return DecodeText<Node>(json, DecodeNode); }
Result<ResourceQuota> DecodeResourceQuotaText(std::string_view json) { return DecodeText<ResourceQuota>(json, DecodeResourceQuota); }

}  // namespace partage::k8s
