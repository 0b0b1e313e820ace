// SPDX-License-Identifier: Apache-2.0
#include "cli/manifest.h"

#include <random>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/yaml.h"
#include "cli/asked.h"

namespace partage::cli {
namespace {

using nlohmann::json;

json PlainScalar(const YAML::Node& node) {
  if (bool value = false; YAML::convert<bool>::decode(node, value)) return value;
  if (std::int64_t value = 0; YAML::convert<std::int64_t>::decode(node, value)) return value;
  if (double value = 0; YAML::convert<double>::decode(node, value)) return value;
  return node.Scalar();
}

/// YAML to JSON as kubectl does it: what is quoted stays text.
json ToJson(const YAML::Node& node) {
  if (node.IsScalar()) return node.Tag() == "!" ? json(node.Scalar()) : PlainScalar(node);
  if (node.IsSequence()) {
    json list = json::array();
    for (const YAML::Node& element : node) list.push_back(ToJson(element));
    return list;
  }
  if (!node.IsMap()) return {};
  json map = json::object();
  for (const auto& entry : node) map[entry.first.Scalar()] = ToJson(entry.second);
  return map;
}

/// The API server stores annotations, labels and quantities as text, however they were written.
void MembersToText(json& map) {
  if (!map.is_object()) return;
  for (json& value : map) {
    if (!value.is_string()) value = value.dump();
  }
}

json& Member(json& object, const char* name) {
  if (!object[name].is_object()) object[name] = json::object();
  return object[name];
}

void NormaliseContainers(json& containers) {
  if (!containers.is_array()) return;
  for (json& container : containers) {
    if (!container.is_object() || !container.contains("resources")) continue;
    json& resources = Member(container, "resources");
    for (const char* kind : {"limits", "requests"}) {
      if (resources.contains(kind)) MembersToText(resources[kind]);
    }
  }
}

std::string RandomUid() {
  static std::mt19937_64 random{std::random_device{}()};
  const std::uint64_t high = random(), low = random();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", high >> 32U, (high >> 16U) & 0xFFFFU, high & 0xFFFU, 0x8000U | (low >> 50U),
                     low & 0xFFFFFFFFFFFFU);
}

ManifestPod MakePod(json pod, const std::string& name) {
  ManifestPod made;
  json& metadata = pod["metadata"];
  made.ns = metadata["namespace"];
  made.name = name;
  made.uid = metadata.value("uid", "");
  if (made.uid.empty()) made.uid = RandomUid();
  metadata["name"] = made.name;
  metadata["uid"] = made.uid;
  made.json = pod.dump();
  made.asked = AskedFor(made.json);
  return made;
}

/// The document as an API server would hand it to kube-scheduler, but for its UID. kInvalid when it is no pod.
Result<json> ToPod(const YAML::Node& document) {
  json pod = ToJson(document);
  if (!pod.is_object() || pod.value("kind", json()) != "Pod") return Fail(Code::kInvalid, "is not of kind Pod");
  json& metadata = Member(pod, "metadata");
  if (!metadata.value("name", json()).is_string()) return Fail(Code::kInvalid, "metadata.name is missing");
  if (!metadata.value("namespace", json()).is_string()) metadata["namespace"] = "default";
  for (const char* map : {"annotations", "labels"}) {
    if (metadata.contains(map)) MembersToText(metadata[map]);
  }
  json& spec = Member(pod, "spec");
  for (const char* kind : {"initContainers", "containers"}) {
    if (spec.contains(kind)) NormaliseContainers(spec[kind]);
  }
  Member(pod, "status")["phase"] = "Pending";
  return pod;
}

Result<> AddPods(const YAML::Node& document, int repeat, std::vector<ManifestPod>& pods) {
  if (!document || document.IsNull()) return {};
  auto pod = ToPod(document);
  if (!pod) return Fail(pod.error());
  const std::string name = (*pod)["metadata"]["name"];
  if (repeat == 1) {
    pods.push_back(MakePod(*pod, name));
    return {};
  }
  (*pod)["metadata"].erase("uid");
  for (int number = 1; number <= repeat; ++number) pods.push_back(MakePod(*pod, fmt::format("{}-{}", name, number)));
  return {};
}

}  // namespace

Result<std::vector<ManifestPod>> ParseManifests(std::string_view yaml, const std::string& file, int repeat) {
  const auto documents = LoadYamlDocuments(yaml, file);
  if (!documents) return Fail(documents.error());
  std::vector<ManifestPod> pods;
  try {
    int number = 0;
    for (const YAML::Node& document : *documents) {
      ++number;
      if (auto added = AddPods(document, repeat, pods); !added) return Fail(added.error(), fmt::format("{}: document {}", file, number));
    }
  } catch (const YAML::Exception& error) {
    return Fail(Code::kInvalid, "{}:{}: {}", file, error.mark.line + 1, error.msg);
  } catch (const json::exception& error) {
    return Fail(Code::kInvalid, "{}: is not a pod: {}", file, error.what());
  }
  return pods;
}

}  // namespace partage::cli
