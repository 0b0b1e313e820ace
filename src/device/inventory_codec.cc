// SPDX-License-Identifier: Apache-2.0

#include "device/inventory_codec.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "device/json_fields.h"

namespace partage::device {
namespace {

constexpr std::int32_t kInventoryVersion = 1;

/// One direction of a pair of devices.
struct Link {
  std::string from, to;
  std::int32_t score = 0;
};

/// An inventory while it is read.
class Builder {
 public:
  Builder(NodeInventory::Dialect dialect, Problem& problem) : problem_(problem) { inventory_.dialect = dialect; }

  std::int32_t count() const { return static_cast<std::int32_t>(inventory_.devices.size()); }

  void Add(Device device, const Path& path) {
    if (!uuids_.insert(device.uuid).second) problem_.Report("{}: two devices have the UUID {}", path.Text(), Quoted(device.uuid));
    if (inventory_.devices.size() >= kMaxDevicesOfNode)
      problem_.Report("{}: more than {} devices on one node", path.Text(), kMaxDevicesOfNode);
    if (!problem_.any()) inventory_.devices.push_back(std::move(device));
  }

  /// Scores that name devices the node does not publish (hidden from sharing) are left out.
  void AddLink(Link link) { links_.push_back(std::move(link)); }

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
    for (const auto& link : links_) {
      const auto from = places.find(link.from), to = places.find(link.to);
      if (from == places.end() || to == places.end() || from == to || link.score == 0) continue;
      auto& links = inventory_.devices[from->second].links;
      links.resize(places.size());
      links[to->second] = link.score;
    }
  }

  Problem& problem_;
  NodeInventory inventory_;
  std::unordered_set<std::string> uuids_;
  std::vector<Link> links_;
};

void ReadMode(const Fields& fields, Mode& mode, Problem& problem) {
  std::string word;
  fields.Text("mode", word);
  if (word.empty()) return;
  if (const auto known = ParseMode(word)) {
    mode = *known;
  } else {
    problem.Report("{}.mode {} is unknown; known are shared (hami-core), exclusive, mig and mps", fields.path().Text(), Quoted(word));
  }
}

void ReadLinks(const Fields& fields, std::string_view name, const std::string& from, Builder& builder) {
  fields.EachNumber(name, 0, kMaxInt32, [&](std::string_view to, std::int32_t score) { builder.AddLink({from, std::string(to), score}); });
}

// --- Our own document ---

void ReadDevice(const Json& json, const Path& path, Problem& problem, Builder& builder) {
  const Fields fields(json, path, problem);
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
  ReadLinks(fields, "links", device.uuid, builder);
  builder.Add(std::move(device), path);
}

void ReadInventory(const Json& root, Problem& problem, Builder& builder) {
  const Path path("inventory");
  const Fields fields(root, path, problem);
  std::int32_t version = 0;
  fields.RequiredNumber("version", 0, kMaxInt32, version);
  if (version != kInventoryVersion)
    problem.Report("inventory.version {} is unknown; this program reads version {}", version, kInventoryVersion);
  if (!fields.Has("devices")) problem.Report("inventory.devices is missing");
  fields.Each("devices", [&](const Json& device, const Path& place) { ReadDevice(device, place, problem, builder); });
}

// --- HAMi's documents ---

void ReadHamiDevice(const Json& json, std::string_view vendor, const Path& path, Problem& problem, Builder& builder) {
  const Fields fields(json, path, problem);
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
  builder.Add(std::move(device), path);
}

/// One `ID,count,devmem,devcore,type,numa,health[,index,mode]` of the older colon text.
class ColonDevice {
 public:
  ColonDevice(std::string_view text, const Path& path, Problem& problem) : fields_(Split(text, ',')), path_(path), problem_(problem) {
    if (fields_.size() != 7 && fields_.size() != 9)
      problem.Report("{} {} has {} fields, not 7 or 9", path_.Text(), Quoted(text), fields_.size());
  }

  Device Read(std::string_view vendor) {
    if (problem_.any()) return {};
    Device device;
    device.vendor = vendor;
    device.uuid = Trim(fields_[0]);
    device.model = fields_[4];
    if (device.uuid.empty()) problem_.Report("{} has no ID", path_.Text());
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
      problem_.Report("{}: {} must be a whole number from {} to {}, not {}", path_.Text(), name, least, most, Quoted(text));
    }
    return number;
  }

  bool Flag(std::size_t field, std::string_view name) {
    const auto text = Trim(fields_[field]);
    const auto is_one_of = [&](auto... words) { return ((text == words) || ...); };
    if (is_one_of("1", "t", "T", "TRUE", "true", "True")) return true;
    if (!is_one_of("0", "f", "F", "FALSE", "false", "False"))
      problem_.Report("{}: {} must be true or false, not {}", path_.Text(), name, Quoted(text));
    return false;
  }

  Mode ReadMode(std::size_t field) {
    const auto text = Trim(fields_[field]);
    const auto mode = text.empty() ? Mode::kShared : ParseMode(text);
    if (!mode) problem_.Report("{}: mode {} is unknown", path_.Text(), Quoted(text));
    return mode.value_or(Mode::kShared);
  }

  std::vector<std::string_view> fields_;
  const Path& path_;
  Problem& problem_;
};

void ReadHamiJson(std::string_view text, std::string_view vendor, Problem& problem, Builder& builder) {
  ReadJson(text, problem, [&](const Json& root) {
    EachElement(root, problem,
                [&](const Json& device, std::size_t i) { ReadHamiDevice(device, vendor, Path("register", i), problem, builder); });
  });
}

void ReadHamiColonText(std::string_view text, std::string_view vendor, Problem& problem, Builder& builder) {
  if (text.find(':') == std::string_view::npos) problem.Report("register {} is neither a JSON list nor devices ended by ':'", Quoted(text));
  std::size_t place = 0;
  for (const auto segment : Split(text, ':')) {
    if (problem.any()) return;
    if (Trim(segment).empty()) continue;
    const Path path("register", place++);
    auto device = ColonDevice(segment, path, problem).Read(vendor);
    builder.Add(std::move(device), path);
  }
}

void ReadHamiScore(const Json& json, const Path& path, Problem& problem, Builder& builder) {
  const Fields fields(json, path, problem);
  std::string uuid;
  fields.RequiredText("uuid", uuid);
  ReadLinks(fields, "score", uuid, builder);
}

void ReadHamiScores(std::string_view text, Problem& problem, Builder& builder) {
  if (Trim(text).empty()) return;
  ReadJson(text, problem, [&](const Json& root) {
    const bool is_list =
        EachElement(root, problem, [&](const Json& score, std::size_t i) { ReadHamiScore(score, Path("score", i), problem, builder); });
    if (!is_list) problem.Report("score must be a list, not {}", Shown(root));
  });
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
  ReadJson(text, problem, [&](const Json& root) { ReadInventory(root, problem, builder); });
  return builder.Finish();
}

std::string EncodeInventory(const NodeInventory& inventory) {
  nlohmann::ordered_json json{{"version", kInventoryVersion}, {"devices", nlohmann::ordered_json::array()}};
  for (const auto& device : inventory.devices) json["devices"].push_back(ToJson(inventory, device));
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
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
