// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/reasons.h"

#include <algorithm>

#include <fmt/format.h>

namespace partage::scheduler {

std::string_view HamiName(Reason reason) {
  switch (reason) {
    case Reason::kUnknownNode: return "NodeUnfitPod";
    case Reason::kNoDevices:
    case Reason::kTooFewDevices: return "NodeInsufficientDevice";
    case Reason::kQuarantined:
    case Reason::kUnhealthy: return "CardNotHealth";
    case Reason::kCordoned: return "CardCordoned";
    case Reason::kMode: return "ModeNotFit";
    case Reason::kType: return "CardTypeMismatch";
    case Reason::kUuid: return "CardUuidMismatch";
    case Reason::kNuma: return "NumaNotFit";
    case Reason::kSlots: return "CardTimeSlicingExhausted";
    case Reason::kHeldExclusively: return "ExclusiveDeviceAllocateConflict";
    case Reason::kMemory: return "CardInsufficientMemory";
    case Reason::kCores: return "CardInsufficientCore";
    case Reason::kNoCoresLeft: return "CardComputeUnitsExhausted";
    case Reason::kSomeOnly:
    case Reason::kTogether: return "AllocatedCardsInsufficientRequest";
  }
  return "NodeUnfitPod";
}

bool Shortfall::unresolvable() const {
  if (reason == Reason::kMemory || reason == Reason::kCores) return capacity < needed;
  return reason <= Reason::kUuid;
}

double Shortfall::Distance() const { return needed > 0 ? static_cast<double>(needed - free) / static_cast<double>(needed) : 1.0; }

namespace {

std::string Words(const Shortfall& s) {
  switch (s.reason) {
    case Reason::kUnknownNode: return "node is not known to Partage";
    case Reason::kNoDevices: return "node publishes no GPUs";
    case Reason::kTooFewDevices: return fmt::format("node has fewer than the {} GPUs needed", s.needed);
    case Reason::kQuarantined: return "node is quarantined: what is in use there cannot be told";
    case Reason::kUnhealthy: return "no healthy GPU";
    case Reason::kCordoned: return "all GPUs are cordoned";
    case Reason::kMode: return "no GPU in an accepted mode (MIG and MPS are not placed)";
    case Reason::kType: return "no GPU of an accepted type";
    case Reason::kUuid: return "no GPU with an accepted UUID";
    case Reason::kNuma: return fmt::format("no NUMA node has {} GPUs that fit", s.needed);
    case Reason::kSlots: return "no GPU has a free slot";
    case Reason::kHeldExclusively: return "an unused GPU is needed, or the GPU is held exclusively";
    case Reason::kMemory:
      return s.unresolvable() ? fmt::format("no GPU has {} MiB at all", s.needed) : fmt::format("no GPU has {} MiB free", s.needed);
    case Reason::kCores:
      return s.unresolvable() ? fmt::format("no GPU has {} percent compute at all", s.needed)
                              : fmt::format("no GPU has {} percent compute free", s.needed);
    case Reason::kNoCoresLeft: return "all compute of the GPU is given away";
    case Reason::kSomeOnly: return fmt::format("fewer than the {} GPUs needed fit at once", s.needed);
    case Reason::kTogether: return "each container fits alone, but not all of them together";
  }
  return "does not fit";
}

std::string Arithmetic(const Shortfall& s, std::string_view node) {
  switch (s.reason) {
    case Reason::kMemory:
      if (s.unresolvable()) return fmt::format("largest is GPU {} of {}: {} MiB", s.device, node, s.capacity);
      return fmt::format("nearest is GPU {} of {}: {} MiB free, {} short", s.device, node, std::max<std::int64_t>(s.free, 0),
                         s.needed - s.free);
    case Reason::kCores:
      if (s.unresolvable()) return fmt::format("largest is GPU {} of {}: {} percent", s.device, node, s.capacity);
      return fmt::format("nearest is GPU {} of {}: {} percent free, {} short", s.device, node, std::max<std::int64_t>(s.free, 0),
                         s.needed - s.free);
    case Reason::kSomeOnly:
    case Reason::kNuma:
    case Reason::kTooFewDevices: return fmt::format("nearest is {}: {} of {}", node, s.free, s.needed);
    case Reason::kQuarantined: return fmt::format("{}: {}", node, s.detail);
    default: return s.device < 0 ? fmt::format("nearest is {}", node) : fmt::format("nearest is GPU {} of {}", s.device, node);
  }
}

}  // namespace

std::string GroupText(const Shortfall& shortfall) { return fmt::format("{}: {}", HamiName(shortfall.reason), Words(shortfall)); }

std::string NearestText(const Shortfall& shortfall, std::string_view node) {
  return fmt::format("{} ({})", GroupText(shortfall), Arithmetic(shortfall, node));
}

Nearness NearnessOf(const Shortfall& shortfall) { return {!shortfall.unresolvable(), shortfall.reason, -shortfall.Distance()}; }

std::uint32_t RefusalGroups::Add(const Shortfall& shortfall) {
  const auto [place, fresh] =
      places_.try_emplace({shortfall.reason, shortfall.needed, shortfall.unresolvable()}, static_cast<std::uint32_t>(groups_.size()));
  if (fresh) groups_.push_back({shortfall.reason, GroupText(shortfall)});
  ++groups_[place->second].nodes;
  return place->second;
}

}  // namespace partage::scheduler
