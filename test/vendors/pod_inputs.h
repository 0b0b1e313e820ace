// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "vendors/vendor.h"

namespace partage::test {

/// A pod for the request parser: `Pod().Container("main", {{"nvidia.com/gpu", "1"}}).Annotation("partage.dev/numa-bind", "true")`.
class Pod {
 public:
  Pod& Container(std::string name, vendors::Quantities limits, device::ContainerKind kind = device::ContainerKind::kApp) {
    input_.containers.push_back({.name = std::move(name), .kind = kind, .limits = std::move(limits), .requests = {}});
    return *this;
  }
  Pod& Requests(vendors::Quantities requests) {
    input_.containers.back().requests = std::move(requests);
    return *this;
  }
  Pod& Annotation(std::string key, std::string value) {
    input_.annotations[std::move(key)] = std::move(value);
    return *this;
  }
  operator const vendors::PodInput&() const { return input_; }  // NOLINT: reads as the argument it is

 private:
  vendors::PodInput input_;
};

/// One app container that asks for a part of a GPU.
inline Pod GpuPod() { return Pod().Container("main", {{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", "3000"}}); }

}  // namespace partage::test
