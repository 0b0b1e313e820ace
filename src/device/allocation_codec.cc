// SPDX-License-Identifier: Apache-2.0

#include "device/allocation_codec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "device/json_fields.h"

namespace partage::device {
namespace {

constexpr std::int32_t kAllocationVersion = 1;

// --- Our own document ---

void ReadKind(const Fields& fields, ContainerKind& kind, Problem& problem) {
  std::string word;
  fields.Text("kind", word);
  if (word.empty()) return;
  constexpr std::array kKinds{ContainerKind::kInit, ContainerKind::kSidecar, ContainerKind::kApp};
  const auto* known = std::find_if(kKinds.begin(), kKinds.end(), [&](ContainerKind k) { return word == ToString(k); });
  if (known == kKinds.end()) {
    problem.Report("{}.kind {} is unknown; known are init, sidecar and app", fields.path().Text(), Quoted(word));
  } else {
    kind = *known;
  }
}

Share ReadShare(const Json& json, const Path& path, Problem& problem) {
  const Fields fields(json, path, problem);
  Share share;
  fields.RequiredText("uuid", share.uuid);
  fields.Number("memoryMiB", 0, kMaxInt32, share.mib);
  fields.Number("cores", 0, kMaxCores, share.cores);
  return share;
}

ContainerAllocation ReadContainer(const Json& json, const Path& path, Problem& problem) {
  const Fields fields(json, path, problem);
  ContainerAllocation container;
  fields.RequiredText("name", container.name);
  ReadKind(fields, container.kind, problem);
  fields.Number("priority", 0, kMaxInt32, container.priority);
  std::unordered_set<std::string> uuids;
  fields.Each("shares", [&](const Json& element, const Path& place) {
    auto share = ReadShare(element, place, problem);
    if (!uuids.insert(share.uuid).second) problem.Report("{}: a second share of the device {}", place.Text(), Quoted(share.uuid));
    container.shares.push_back(std::move(share));
  });
  if (!container.shares.empty()) fields.Text("vendor", container.vendor);
  return container;
}

Allocation ReadAllocation(const Json& root, Problem& problem) {
  const Path path("allocation");
  const Fields fields(root, path, problem);
  std::int32_t version = 0;
  fields.RequiredNumber("version", 0, kMaxInt32, version);
  if (version != kAllocationVersion)
    problem.Report("allocation.version {} is unknown; this program reads version {}", version, kAllocationVersion);
  Allocation allocation;
  fields.RequiredText("node", allocation.node);
  if (!fields.Has("containers")) problem.Report("allocation.containers is missing");
  std::unordered_set<std::string> names;
  fields.Each("containers", [&](const Json& element, const Path& place) {
    auto container = ReadContainer(element, place, problem);
    if (!names.insert(container.name).second) problem.Report("{}: a second container {}", place.Text(), Quoted(container.name));
    allocation.containers.push_back(std::move(container));
  });
  return allocation;
}

nlohmann::ordered_json ToJson(const ContainerAllocation& container) {
  nlohmann::ordered_json json{{"name", container.name}, {"kind", ToString(container.kind)}};
  if (!container.shares.empty() && !container.vendor.empty()) json["vendor"] = container.vendor;
  if (container.priority >= 0) json["priority"] = container.priority;
  json["shares"] = nlohmann::ordered_json::array();
  for (const auto& share : container.shares) {
    json["shares"].push_back({{"uuid", share.uuid}, {"memoryMiB", share.mib}, {"cores", share.cores}});
  }
  return json;
}

// --- HAMi's text ---

using Entry = std::vector<Share>;

std::int32_t ReadHamiNumber(std::string_view text, std::int32_t most, std::string_view device, Problem& problem) {
  std::int32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || number < 0 || number > most) {
    problem.Report("device {}: {} is not a whole number from 0 to {}", Quoted(device), Quoted(text), most);
  }
  return number;
}

// One container's devices. HAMi may name a partitioned card twice in one container: one share with the sum.
void AddHamiDevice(std::string_view text, Entry& entry, Problem& problem) {
  const auto fields = Split(text, ',');
  if (fields.size() < 4 || fields[0].empty()) return problem.Report("device {} is not UUID,type,memory,cores", Quoted(text));
  Share share{.uuid = std::string(fields[0]),
              .mib = ReadHamiNumber(fields[2], kMaxInt32, text, problem),
              .cores = ReadHamiNumber(fields[3], kMaxCores, text, problem)};
  const auto same = std::find_if(entry.begin(), entry.end(), [&](const Share& s) { return s.uuid == share.uuid; });
  if (same == entry.end()) return entry.push_back(std::move(share));
  same->mib = share.mib > kMaxInt32 - same->mib ? kMaxInt32 : same->mib + share.mib;
  same->cores = std::min(same->cores + share.cores, kMaxCores);
}

std::vector<Entry> ReadHamiEntries(std::string_view text, Problem& problem) {
  std::vector<Entry> entries;
  for (const auto container : Split(text, ';')) {
    auto& entry = entries.emplace_back();
    for (const auto device : Split(container, ':')) {
      if (problem.any()) return {};
      if (!Trim(device).empty()) AddHamiDevice(Trim(device), entry, problem);
    }
  }
  while (!entries.empty() && entries.back().empty()) entries.pop_back();
  return entries;
}

using Containers = std::vector<HamiContainer>;

// Every entry that holds something stands where a container that wants something stands.
bool LinesUp(const std::vector<Entry>& entries, const Containers& containers) {
  if (entries.size() > containers.size()) return false;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].empty() && !containers[i].wants_devices) return false;
  }
  return true;
}

// One entry a container, those without devices included: then position counts. (The last ';' ends an entry.)
bool HasEntryForEach(std::string_view text, const Containers& containers) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), ';')) >= containers.size();
}

std::vector<Entry> OnlyFilled(std::vector<Entry> entries) {
  std::erase_if(entries, [](const Entry& entry) { return entry.empty(); });
  return entries;
}

// Gives the filled entries in order to the containers that want devices.
std::vector<Entry> MatchInOrder(std::vector<Entry> filled, const Containers& containers, Problem& problem) {
  const auto wants = [](const HamiContainer& c) { return c.wants_devices; };
  const auto wanting = static_cast<std::size_t>(std::count_if(containers.begin(), containers.end(), wants));
  if (filled.size() > wanting) {
    problem.Report("{} containers hold devices, but the pod has {} that ask for them", filled.size(), wanting);
    return {};
  }
  // Among app containers it does not matter for the sums which of them went without.
  const bool interchangeable =
      std::none_of(containers.begin(), containers.end(), [&](const HamiContainer& c) { return wants(c) && c.kind != ContainerKind::kApp; });
  if (filled.size() < wanting && !interchangeable) {
    problem.Report("{} containers hold devices, {} ask for them, and nothing says which", filled.size(), wanting);
    return {};
  }
  std::vector<Entry> by_container(containers.size());
  auto next = filled.begin();
  for (std::size_t i = 0; i < containers.size() && next != filled.end(); ++i) {
    if (wants(containers[i])) by_container[i] = std::move(*next++);
  }
  return by_container;
}

}  // namespace

std::string EncodeAllocation(const Allocation& allocation) {
  nlohmann::ordered_json json{{"version", kAllocationVersion}, {"node", allocation.node}, {"containers", nlohmann::ordered_json::array()}};
  for (const auto& container : allocation.containers) json["containers"].push_back(ToJson(container));
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<Allocation> DecodeAllocation(std::string_view text) {
  Problem problem;
  Allocation allocation;
  ReadJson(text, problem, [&](const Json& root) { allocation = ReadAllocation(root, problem); });
  if (problem.any()) return Fail(problem.error());
  return allocation;
}

std::string EncodeHamiDevices(const Allocation& allocation, std::string_view word) {
  std::string text;
  for (const auto& container : allocation.containers) {
    for (const auto& share : container.shares) text += fmt::format("{},{},{},{}:", share.uuid, word, share.mib, share.cores);
    text += ';';
  }
  return text;
}

Result<Allocation> DecodeHamiDevices(std::string_view text, std::string_view vendor, std::string_view node, const Containers& containers) {
  Problem problem;
  auto entries = ReadHamiEntries(text, problem);
  if (!LinesUp(entries, containers) || !HasEntryForEach(text, containers))
    entries = MatchInOrder(OnlyFilled(std::move(entries)), containers, problem);
  if (problem.any()) return Fail(problem.error());
  entries.resize(containers.size());
  Allocation allocation{.node = std::string(node), .containers = {}};
  for (std::size_t i = 0; i < containers.size(); ++i) {
    ContainerAllocation container{.name = containers[i].name, .kind = containers[i].kind, .vendor = {}, .shares = std::move(entries[i])};
    if (!container.shares.empty()) container.vendor = vendor;
    allocation.containers.push_back(std::move(container));
  }
  return allocation;
}

}  // namespace partage::device
