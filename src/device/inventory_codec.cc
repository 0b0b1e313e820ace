// SPDX-License-Identifier: Apache-2.0

#include "device/inventory_codec.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "device/json_fields.h"

namespace partage::device {
namespace {

constexpr auto kMaxInt32 = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t kVersion = 1;

/// One device's link scores by UUID, until every device's position is known.
using Links = std::map<std::string, std::int32_t>;

/// An inventory while it is read.
class Builder {
 public:
  Builder(NodeInventory::Dialect dialect, Problem& problem) : problem_(problem) { inventory_.dialect = dialect; }

  std::int32_t count() const { return static_cast<std::int32_t>(inventory_.devices.size()); }

  void Add(Device device, const std::string& where) {
    if (!uuids_.insert(device.uuid).second) problem_.Report("{}: two devices have the UUID {}", where, Quoted(device.uuid));
    if (inventory_.devices.size() >= kMaxDevicesOfNode) problem_.Report("{}: more than {} devices on one node", where, kMaxDevicesOfNode);
    if (!problem_.any()) inventory_.devices.push_back(std::move(device));
  }

  /// Scores that name devices the node does not publish (hidden from sharing) are left out.
  void AddLinks(const std::string& uuid, Links links) { links_[uuid] = std::move(links); }

  void Cordon(const std::vector<std::string>& uuids) {
    for (auto& device : inventory_.devices) {
      device.cordoned = device.cordoned || std::find(uuids.begin(), uuids.end(), device.uuid) != uuids.end();
    }
  }

  Result<NodeInventory> Finish() {
    if (problem_.any()) return Fail(problem_.error());
    PlaceLinks();
    inventory_.Sort();
    return std::move(inventory_);
  }

 private:
  void PlaceLinks() {
    std::unordered_map<std::string_view, std::size_t> places;
    for (std::size_t i = 0; i < inventory_.devices.size(); ++i) places.emplace(inventory_.devices[i].uuid, i);
    for (const auto& [uuid, links] : links_) {
      const auto from = places.find(uuid);
      if (from == places.end()) continue;
      auto& device = inventory_.devices[from->second];
      for (const auto& [peer, score] : links) {
        const auto to = places.find(peer);
        if (to == places.end() || to == from || score == 0) continue;
        device.links.resize(places.size());
        device.links[to->second] = score;
      }
    }
  }

  Problem& problem_;
  NodeInventory inventory_;
  std::unordered_set<std::string> uuids_;
  std::map<std::string, Links> links_;
};

void ReadMode(const Fields& fields, Mode& mode, Problem& problem) {
  std::string word;
  fields.Text("mode", word);
  if (word.empty()) return;
  if (const auto known = ParseMode(word)) {
    mode = *known;
  } else {
    problem.Report("{}.mode {} is unknown; known are shared (hami-core), exclusive, mig and mps", fields.where(), Quoted(word));
  }
}

Links ReadLinks(const Fields& fields, const char* name, Problem& problem) {
  Links links;
  const auto* member = fields.Find(name);
  if (member == nullptr) return links;
  const Fields scores(*member, fmt::format("{}.{}", fields.where(), name), problem);
  if (problem.any()) return links;
  for (const auto& [uuid, score] : member->items()) scores.Number(uuid.c_str(), 0, kMaxInt32, links[uuid]);
  return links;
}

// --- Our own document ---

void ReadDevice(const Json& json, const std::string& where, Problem& problem, Builder& builder) {
  const Fields fields(json, where, problem);
  Device device;
  device.vendor = "nvidia";
  device.index = builder.count();
  device.slots = 10;
  device.cores = 100;
  fields.RequiredText("uuid", device.uuid);
  fields.Text("vendor", device.vendor);
  fields.RequiredText("model", device.model);
  fields.Number("index", 0, kMaxInt32, device.index);
  fields.Number("numa", 0, kMaxInt32, device.numa);
  fields.Number("slots", 0, kMaxSlots, device.slots);
  fields.RequiredNumber("memoryMiB", 0, kMaxInt32, device.mib);
  fields.Number("cores", 0, kMaxCores, device.cores);
  ReadMode(fields, device.mode, problem);
  fields.Flag("healthy", device.healthy);
  fields.Flag("cordoned", device.cordoned);
  auto links = ReadLinks(fields, "links", problem);
  if (!links.empty()) builder.AddLinks(device.uuid, std::move(links));
  builder.Add(std::move(device), where);
}

// --- HAMi's documents ---

void ReadHamiDevice(const Json& json, std::string_view vendor, const std::string& where, Problem& problem, Builder& builder) {
  const Fields fields(json, where, problem);
  Device device;
  device.vendor = vendor;
  device.healthy = false;  // HAMi leaves zero values out
  fields.RequiredText("id", device.uuid);
  fields.Text("type", device.model);
  fields.Number("index", 0, kMaxInt32, device.index);
  fields.Number("numa", std::numeric_limits<std::int32_t>::min(), kMaxInt32, device.numa);
  device.numa = std::max(device.numa, 0);  // the kernel says -1 for "no NUMA node"
  fields.Number("count", 0, kMaxSlots, device.slots);
  fields.Number("devmem", 0, kMaxInt32, device.mib);
  fields.Number("devcore", 0, kMaxCores, device.cores);
  ReadMode(fields, device.mode, problem);
  fields.Flag("health", device.healthy);
  builder.Add(std::move(device), where);
}

/// One `ID,count,devmem,devcore,type,numa,health[,index,mode]` of the older colon text.
class ColonDevice {
 public:
  ColonDevice(std::string_view text, std::string where, Problem& problem)
      : fields_(Split(text, ',')), where_(std::move(where)), problem_(problem) {
    if (fields_.size() != 7 && fields_.size() != 9) problem.Report("{} {} has {} fields, not 7 or 9", where_, Quoted(text), fields_.size());
  }

  Device Read(std::string_view vendor) {
    if (problem_.any()) return {};
    Device device;
    device.vendor = vendor;
    device.uuid = Trim(fields_[0]);
    device.model = fields_[4];
    if (device.uuid.empty()) problem_.Report("{} has no ID", where_);
    device.slots = Number(1, "count", 0, kMaxSlots);
    device.mib = Number(2, "devmem", 0, kMaxInt32);
    device.cores = Number(3, "devcore", 0, kMaxCores);
    device.numa = std::max(Number(5, "numa", std::numeric_limits<std::int32_t>::min(), kMaxInt32), 0);
    device.healthy = Flag(6, "health");
    if (fields_.size() == 9) {
      device.index = Number(7, "index", 0, kMaxInt32);
      device.mode = ReadMode(8);
    }
    return device;
  }

 private:
  std::int32_t Number(std::size_t field, std::string_view name, std::int32_t least, std::int32_t most) {
    const auto text = Trim(fields_[field]);
    std::int32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    if (!whole || number < least || number > most) {
      problem_.Report("{}: {} must be a whole number from {} to {}, not {}", where_, name, least, most, Quoted(text));
    }
    return number;
  }

  bool Flag(std::size_t field, std::string_view name) {
    const auto text = Trim(fields_[field]);
    const auto is_one_of = [&](auto... words) { return ((text == words) || ...); };
    if (is_one_of("1", "t", "T", "TRUE", "true", "True")) return true;
    if (!is_one_of("0", "f", "F", "FALSE", "false", "False"))
      problem_.Report("{}: {} must be true or false, not {}", where_, name, Quoted(text));
    return false;
  }

  Mode ReadMode(std::size_t field) {
    const auto text = Trim(fields_[field]);
    const auto mode = text.empty() ? Mode::kShared : ParseMode(text);
    if (!mode) problem_.Report("{}: mode {} is unknown", where_, Quoted(text));
    return mode.value_or(Mode::kShared);
  }

  std::vector<std::string_view> fields_;
  std::string where_;
  Problem& problem_;
};

void ReadHamiJson(std::string_view text, std::string_view vendor, Problem& problem, Builder& builder) {
  const Json json = ParseJson(text, problem);
  for (std::size_t i = 0; i < json.size() && !problem.any(); ++i) {
    ReadHamiDevice(json[i], vendor, fmt::format("register[{}]", i), problem, builder);
  }
}

void ReadHamiColonText(std::string_view text, std::string_view vendor, Problem& problem, Builder& builder) {
  if (text.find(':') == std::string_view::npos) problem.Report("register {} is neither a JSON list nor devices ended by ':'", Quoted(text));
  std::size_t place = 0;
  for (const auto segment : Split(text, ':')) {
    if (problem.any()) return;
    if (Trim(segment).empty()) continue;
    const auto where = fmt::format("register[{}]", place++);
    auto device = ColonDevice(segment, where, problem).Read(vendor);
    builder.Add(std::move(device), where);
  }
}

void ReadHamiScores(std::string_view text, Problem& problem, Builder& builder) {
  if (Trim(text).empty()) return;
  const Json json = ParseJson(text, problem);
  if (!json.is_array()) problem.Report("score must be a list, not {}", Shown(json));
  for (std::size_t i = 0; i < json.size() && !problem.any(); ++i) {
    const Fields fields(json[i], fmt::format("score[{}]", i), problem);
    std::string uuid;
    fields.RequiredText("uuid", uuid);
    builder.AddLinks(uuid, ReadLinks(fields, "score", problem));
  }
}

nlohmann::ordered_json LinksToJson(const NodeInventory& inventory, const Device& device) {
  auto links = nlohmann::ordered_json::object();
  const auto known = std::min(device.links.size(), inventory.devices.size());
  for (std::size_t i = 0; i < known; ++i) {
    if (device.links[i] != 0) links[inventory.devices[i].uuid] = device.links[i];
  }
  return links;
}

nlohmann::ordered_json ToJson(const NodeInventory& inventory, const Device& device) {
  nlohmann::ordered_json json{{"vendor", device.vendor},   {"uuid", device.uuid},        {"index", device.index},
                              {"model", device.model},     {"memoryMiB", device.mib},    {"cores", device.cores},
                              {"slots", device.slots},     {"numa", device.numa},        {"mode", ToString(device.mode)},
                              {"healthy", device.healthy}, {"cordoned", device.cordoned}};
  if (auto links = LinksToJson(inventory, device); !links.empty()) json["links"] = std::move(links);
  return json;
}

}  // namespace

Result<NodeInventory> DecodeInventory(std::string_view text) {
  Problem problem;
  Builder builder(NodeInventory::Dialect::kPartage, problem);
  const Json json = ParseJson(text, problem);
  const Fields fields(json, "inventory", problem);
  std::int32_t version = 0;
  fields.RequiredNumber("version", 0, kMaxInt32, version);
  if (version != kVersion) problem.Report("inventory.version {} is unknown; this program reads version {}", version, kVersion);
  if (fields.Find("devices") == nullptr) problem.Report("inventory.devices is missing");
  fields.Each("devices", [&](const Json& device, const std::string& where) { ReadDevice(device, where, problem, builder); });
  return builder.Finish();
}

std::string EncodeInventory(const NodeInventory& inventory) {
  nlohmann::ordered_json json{{"version", kVersion}, {"devices", nlohmann::ordered_json::array()}};
  for (const auto& device : inventory.devices) json["devices"].push_back(ToJson(inventory, device));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<NodeInventory> DecodeHamiInventory(std::string_view vendor, const HamiNodeAnnotations& annotations) {
  Problem problem;
  Builder builder(NodeInventory::Dialect::kHami, problem);
  const auto registered = Trim(annotations.registered);
  if (registered.starts_with('[') || registered == "null") {  // Go writes an empty list as null
    ReadHamiJson(registered, vendor, problem, builder);
  } else {
    ReadHamiColonText(registered, vendor, problem, builder);
  }
  ReadHamiScores(annotations.scores, problem, builder);
  builder.Cordon(SplitList(annotations.cordon));
  return builder.Finish();
}

}  // namespace partage::device
