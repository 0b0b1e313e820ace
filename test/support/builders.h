// SPDX-License-Identifier: Apache-2.0
// Objects for tests, said in the test's own words: Node("n1").Gpus(8, 81920), Ask(1).Mib(3000).Cores(30).
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "device/request.h"
#include "scheduler/engine/engine.h"
#include "scheduler/state/cluster.h"

namespace partage::test {

/// A node as a watch would report it. UUIDs are "<node>-gpu<index>".
class Node {
 public:
  explicit Node(std::string name) {
    seen_.name = std::move(name);
    seen_.uid = "uid-of-" + seen_.name;
  }
  Node& Gpu(std::int32_t mib, std::int32_t cores = 100, std::int32_t slots = 10) {
    auto& devices = seen_.inventory.devices;
    const auto index = static_cast<std::int32_t>(devices.size());
    devices.push_back({.vendor = "nvidia",
                       .uuid = seen_.name + "-gpu" + std::to_string(index),
                       .model = "NVIDIA A100-SXM4-80GB",
                       .index = index,
                       .numa = 0,
                       .slots = slots,
                       .mib = mib,
                       .cores = cores,
                       .links = {}});
    return *this;
  }
  Node& Gpus(int count, std::int32_t mib) {
    for (int i = 0; i < count; ++i) Gpu(mib);
    return *this;
  }
  /// The device added last.
  device::Device& Last() { return seen_.inventory.devices.back(); }
  Node& Numa(std::int32_t numa) {
    Last().numa = numa;
    return *this;
  }
  Node& Model(std::string model) {
    Last().model = std::move(model);
    return *this;
  }
  Node& Version(std::uint64_t version) {
    seen_.resource_version = version;
    return *this;
  }
  Node& Hami() {
    seen_.inventory.dialect = device::NodeInventory::Dialect::kHami;
    return *this;
  }
  operator scheduler::NodeObservation() const { return seen_; }

 private:
  scheduler::NodeObservation seen_;
};

/// A pod's request, container by container.
class Ask {
 public:
  Ask() = default;
  explicit Ask(std::int32_t count) { App(count); }
  Ask& App(std::int32_t count) { return Add(device::ContainerKind::kApp, count); }
  Ask& Init(std::int32_t count) { return Add(device::ContainerKind::kInit, count); }
  Ask& Sidecar(std::int32_t count) { return Add(device::ContainerKind::kSidecar, count); }
  /// Of the container added last.
  Ask& Mib(std::int32_t mib) {
    Last().mib = mib;
    return *this;
  }
  Ask& Percent(std::int32_t percent) {
    Last().mib = 0;
    Last().percent = percent;
    return *this;
  }
  Ask& Cores(std::int32_t cores) {
    Last().cores = cores;
    return *this;
  }
  Ask& NodePolicy(std::string name) {
    request_.node_policy = std::move(name);
    return *this;
  }
  Ask& DevicePolicies(std::vector<std::string> names) {
    request_.device_policies = std::move(names);
    return *this;
  }
  device::DeviceConstraints& constraints() { return request_.constraints; }
  operator device::PodRequest() const { return request_; }
  operator std::shared_ptr<const device::PodRequest>() const { return std::make_shared<device::PodRequest>(request_); }

 private:
  Ask& Add(device::ContainerKind kind, std::int32_t count) {
    request_.containers.push_back({.name = "c" + std::to_string(request_.containers.size()), .kind = kind, .devices = {}});
    request_.containers.back().devices.push_back({.vendor = "nvidia", .count = count});
    return *this;
  }
  device::DeviceRequest& Last() { return request_.containers.back().devices.back(); }

  device::PodRequest request_;
};

/// Names a pod; the UID is made from the name.
inline scheduler::PodRef Ref(const std::string& name) { return {"default", name, "uid-of-" + name}; }

/// A pod in front of the scheduler.
inline scheduler::PodInput Input(const std::string& name, const Ask& ask) {
  return {.pod = Ref(name), .request = std::shared_ptr<const device::PodRequest>(ask), .has_soft_preferences = false};
}

/// A bound pod as a watch would report it.
inline scheduler::PodObservation Bound(const std::string& name, const device::Allocation& allocation, std::uint64_t version = 0) {
  return {.pod = Ref(name),
          .resource_version = version,
          .node = allocation.node,
          .usage = device::CollapseUsage(allocation),
          .allocation_error = ""};
}

}  // namespace partage::test
