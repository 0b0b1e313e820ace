// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/idle_cluster.h"

#include <tuple>
#include <utility>

#include "scheduler/engine/placement.h"
#include "scheduler/engine/reasons.h"

namespace partage::scheduler {
namespace {

// Nodes whose devices suit one by one but not together are each searched through: on so many, not one more.
constexpr int kPuzzles = 8;

/// The node that came nearest to taking a pod.
class Nearest {
 public:
  void Offer(const Block& block, std::uint32_t row, const Ask& ask, std::string_view name) {
    Shortfall shortfall = MeasureNode(block, row, ask);
    puzzles_ += shortfall.reason >= Reason::kSomeOnly ? 1 : 0;
    if (!text_.empty() && Key(shortfall) <= Key(best_)) return;
    best_ = ExplainNode(block, row, ask);
    text_ = NearestText(best_, name);
  }
  bool puzzled() const { return puzzles_ > kPuzzles; }
  std::string Text() && { return text_.empty() ? "no node is known" : std::move(text_); }

 private:
  static std::tuple<Reason, double> Key(const Shortfall& shortfall) { return {shortfall.reason, -shortfall.Distance()}; }

  Shortfall best_;
  std::string text_;
  int puzzles_ = 0;
};

}  // namespace

Block Idle(const Block& block) {
  Block idle = block;
  idle.free_mib = block.total_mib;
  idle.free_cores = block.total_cores;
  idle.free_slots = block.total_slots;
  for (auto& shares : idle.exclusive_shares) shares = 0;
  for (auto& flags : idle.flags) flags &= kNotPlaceable;
  for (std::uint32_t row = 0; row < kBlockNodes; ++row) {
    idle.rows[row].open = idle.rows[row].present;
    idle.RefreshRow(row);
  }
  return idle;
}

std::optional<std::string> WhyNotWhenIdle(const Snapshot& snapshot, const Ask& ask) {
  Nearest nearest;
  for (NodeId first = 0; first < snapshot.blocks.size() * kBlockNodes; first += kBlockNodes) {
    const Block idle = Idle(snapshot.block(first));
    for (std::uint32_t row = 0; row < kBlockNodes; ++row) {
      if (!idle.rows[row].present) continue;
      if (PlaceOnNode(idle, row, ask)) return std::nullopt;
      nearest.Offer(idle, row, ask, snapshot.index->Name(first + row));
      if (nearest.puzzled()) return std::nullopt;
    }
  }
  return std::move(nearest).Text();
}

}  // namespace partage::scheduler
