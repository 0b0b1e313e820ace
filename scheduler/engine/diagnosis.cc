// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/diagnosis.h"

#include <algorithm>
#include <utility>

#include "scheduler/engine/placement.h"

namespace partage::scheduler {
namespace {

using device::DeviceRequest;
using device::PodRequest;

bool FitsOn(const Snapshot& snapshot, NodeId id, const Ask& ask) {
  return PlaceOnNode(snapshot.block(id), id % kBlockNodes, ask).has_value();
}

bool FitsAnywhere(const Snapshot& snapshot, const PodRequest& request, const ChainOf& chain_of) {
  const Ask ask(request, chain_of(request), *snapshot.kinds);
  const auto& ids = snapshot.index->ordered();
  return std::any_of(ids.begin(), ids.end(), [&](NodeId id) { return FitsOn(snapshot, id, ask); });
}

// One number of a request: where it stands, and the least it can be.
struct Dial {
  ChangeKind kind;
  std::int32_t DeviceRequest::*number;
  std::int32_t least;
};

std::vector<Dial> DialsOf(const DeviceRequest& wanted) {
  std::vector<Dial> dials = {
      wanted.mib > 0 ? Dial{ChangeKind::kMemoryMib, &DeviceRequest::mib, 1} : Dial{ChangeKind::kMemoryPercent, &DeviceRequest::percent, 1},
      Dial{ChangeKind::kCores, &DeviceRequest::cores, 1}, Dial{ChangeKind::kCount, &DeviceRequest::count, 1}};
  std::erase_if(dials, [&](const Dial& dial) { return wanted.*dial.number <= dial.least; });
  return dials;
}

// Looks for the changes that help, one at a time.
class Search {
 public:
  Search(const Snapshot& snapshot, const PodRequest& request, const ChainOf& chain_of)
      : snapshot_(snapshot), chain_of_(chain_of), request_(request) {}

  std::vector<Change> All() {
    for (auto& container : request_.containers) {
      for (DeviceRequest& wanted : container.devices) {
        for (const Dial& dial : DialsOf(wanted)) Turn(container.name, wanted, dial);
      }
    }
    DropConstraints();
    return std::move(changes_);
  }

 private:
  bool Fits() const { return FitsAnywhere(snapshot_, request_, chain_of_); }

  // Asking for less never makes a pod harder to place, so the largest number that fits is found by halving.
  void Turn(const std::string& container, DeviceRequest& wanted, const Dial& dial) {
    std::int32_t& number = wanted.*dial.number;
    const std::int32_t from = number;
    number = dial.least;
    if (Fits()) {
      std::int32_t fits = dial.least, fails = from;
      while (fails - fits > 1) {
        number = fits + (fails - fits) / 2;
        (Fits() ? fits : fails) = number;
      }
      changes_.push_back({container, dial.kind, from, fits});
    }
    number = from;
  }

  void DropConstraints() {
    if (request_.constraints == device::DeviceConstraints{}) return;
    auto constraints = std::exchange(request_.constraints, {});
    if (Fits()) changes_.push_back({"", ChangeKind::kConstraints, 0, 0});
    request_.constraints = std::move(constraints);
  }

  const Snapshot& snapshot_;
  const ChainOf& chain_of_;
  PodRequest request_;
  std::vector<Change> changes_;
};

}  // namespace

std::string_view ToString(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kMemoryMib: return "memoryMiB";
    case ChangeKind::kMemoryPercent: return "memoryPercent";
    case ChangeKind::kCores: return "cores";
    case ChangeKind::kCount: return "count";
    case ChangeKind::kConstraints: return "constraints";
  }
  return "unknown";
}

Diagnosis Diagnose(const Snapshot& snapshot, const PodRequest& request, const ChainOf& chain_of) {
  const Ask ask(request, chain_of(request), *snapshot.kinds);
  Diagnosis diagnosis;
  RefusalGroups refusals;
  NodeId nearest = kNoNode;
  Nearness nearness;
  for (const NodeId id : snapshot.index->ordered()) {
    if (FitsOn(snapshot, id, ask)) {
      if (++diagnosis.fitting <= Diagnosis::kNamed) diagnosis.named.emplace_back(snapshot.index->Name(id));
      continue;
    }
    const Shortfall shortfall = MeasureNode(snapshot.block(id), id % kBlockNodes, ask);
    refusals.Add(shortfall);
    const Nearness near = NearnessOf(shortfall);
    if (nearest != kNoNode && near <= nearness) continue;
    nearest = id;
    nearness = near;
  }
  diagnosis.groups = refusals.groups();
  std::stable_sort(diagnosis.groups.begin(), diagnosis.groups.end(), [](const auto& a, const auto& b) { return a.nodes > b.nodes; });
  if (diagnosis.fitting > 0 || nearest == kNoNode) return diagnosis;
  diagnosis.nearest_node = snapshot.index->Name(nearest);
  diagnosis.nearest_text = NearestText(ExplainNode(snapshot.block(nearest), nearest % kBlockNodes, ask), diagnosis.nearest_node);
  diagnosis.changes = Search(snapshot, request, chain_of).All();
  return diagnosis;
}

}  // namespace partage::scheduler
