// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace partage::scheduler {

/// What the engine tells of itself: metrics implement it, tests ignore it. Called on hot paths; must be cheap and thread-safe.
class Probe {
 public:
  virtual ~Probe() = default;
  /// A filter ended. `outcome`: "fit", "refused", "invalid" (the request itself is wrong), "in_flight".
  virtual void OnFilter(std::string_view /*outcome*/, double /*seconds*/) {}
  /// A filter refused this many nodes for this reason (HAMi's reason names: CardInsufficientMemory, …).
  virtual void OnRefusal(std::string_view /*reason*/, std::size_t /*nodes*/) {}
  /// A nominal share was lost between snapshot and nomination: another pod was quicker; the filter was repeated.
  virtual void OnNominationRace() {}
};

}  // namespace partage::scheduler
