// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "test/bench/fleet.h"

namespace partage::bench {

/// `count` names of the fleet's nodes as kube-scheduler sends them: the nodes of three zones in turn, from some node on and round, in pieces that several of
/// its workers go through side by side, so that neighbours are near each other and hardly ever next to each other.
std::vector<std::string> Candidates(const Fleet& fleet, int count, std::uint64_t seed);

/// The body of a filter call as kube-scheduler writes it with nodeCacheCapable, built once and then sent for one pod after another of the same form.
class FilterBody {
 public:
  FilterBody(int form, const std::vector<std::string>& candidates);
  /// The text, now for the pod with this serial number. Valid until the next call.
  const std::string& For(int serial);

 private:
  void Overwrite(std::size_t at, const std::string& text);
  int form_;
  std::string text_;
  std::size_t name_at_, uid_at_;
};

}  // namespace partage::bench
