// SPDX-License-Identifier: Apache-2.0
#include "cli/state_view.h"

#include <nlohmann/json.hpp>

namespace partage::cli {
namespace {

using nlohmann::json;

Capacity ToCapacity(const json& from) { return {from.at("total"), from.at("used")}; }

DeviceState ToDevice(const json& from) {
  DeviceState device;
  device.uuid = from.at("uuid");
  device.model = from.at("model");
  device.mode = from.at("mode");
  device.index = from.at("index");
  device.numa = from.at("numa");
  device.healthy = from.at("healthy");
  device.cordoned = from.at("cordoned");
  device.slots = ToCapacity(from.at("slots"));
  device.mib = ToCapacity(from.at("memoryMiB"));
  device.cores = ToCapacity(from.at("cores"));
  return device;
}

ShareState ToShare(const json& from) { return {from.at("uuid"), from.at("memoryMiB"), from.at("cores"), from.at("exclusive")}; }

template <class Element>
std::vector<Element> ToList(const json& from, Element (*convert)(const json&)) {
  std::vector<Element> list;
  for (const json& element : from) list.push_back(convert(element));
  return list;
}

PodState ToPod(const json& from) {
  PodState pod;
  pod.ns = from.at("namespace");
  pod.name = from.at("name");
  pod.uid = from.at("uid");
  pod.state = from.at("state");
  pod.shares = ToList(from.at("devices"), &ToShare);
  pod.allocation_error = from.value("allocationError", "");
  return pod;
}

NodeState ToNode(const json& from) {
  NodeState node;
  node.name = from.at("name");
  node.quarantine = from.value("quarantine", "");
  node.devices = ToList(from.at("devices"), &ToDevice);
  if (from.contains("pods")) node.pods = ToList(from.at("pods"), &ToPod);
  return node;
}

WaitingPod ToWaiting(const json& from) { return {from.at("namespace"), from.at("name"), from.at("reason")}; }

}  // namespace

Result<ClusterState> ParseState(std::string_view text) {
  try {
    const json document = json::parse(text);
    return ClusterState{ToList(document.at("nodes"), &ToNode), ToList(document.at("waiting"), &ToWaiting)};
  } catch (const json::exception& error) {
    return Fail(Code::kInvalid, "the state is not what this partagectl understands: {}", error.what());
  }
}

}  // namespace partage::cli
