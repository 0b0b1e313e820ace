// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/cost_model.h"

namespace partage::intercept {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr int64_t kFirstGuessNs = 100'000;
constexpr int64_t kCheapestNs = 500;  // no launch occupies the GPU for less

/// Share of a new measurement in the mean, as a divisor.
int64_t Inertia(bool lower, Neighbours neighbours) {
  if (neighbours == Neighbours::kNone) return 8;
  if (lower) return 4;
  return neighbours == Neighbours::kBusy ? 256 : 16;
}

int64_t Blend(int64_t old_ns, int64_t gpu_ns, uint32_t samples, Neighbours neighbours) {
  if (samples == 0) return gpu_ns;
  if (samples < CostTable::kFirstFew && neighbours != Neighbours::kBusy) return old_ns + (gpu_ns - old_ns) / (samples + 1);
  return old_ns + (gpu_ns - old_ns) / Inertia(gpu_ns < old_ns, neighbours);
}

void Reset(CostCell& cell, CostKey key) {
  cell.fast_ns.store(kAskFirst, kRelaxed);
  cell.cost_ns.store(0, kRelaxed);
  cell.samples.store(0, kRelaxed);
  cell.guessed.store(0, kRelaxed);
  cell.guessed_ns.store(0, kRelaxed);
  cell.first_stamp_ns.store(0, kRelaxed);
  cell.key.store(key, kRelaxed);
}

}  // namespace

CostCell* CostTable::Probe(CostKey key) {
  for (uint32_t i = 0; i < kProbes; ++i) {
    CostCell& cell = cells_[((key >> 53) + i) % kCells];
    if (cell.key.load(kRelaxed) == key) return &cell;
  }
  return nullptr;
}

CostCell& CostTable::FindSlow(CostKey key) {
  if (CostCell* found = Probe(key)) return *found;
  CostCell* oldest = nullptr;
  for (uint32_t i = 0; i < kProbes; ++i) {
    CostCell& cell = cells_[((key >> 53) + i) % kCells];
    if (cell.key.load(kRelaxed) == 0) {
      oldest = &cell;
      break;
    }
    if (oldest == nullptr || cell.touched_ns.load(kRelaxed) < oldest->touched_ns.load(kRelaxed)) oldest = &cell;
  }
  // Two threads may reset the cell for the same or for two keys: the later wins, the other's launches are charged to it once.
  Reset(*oldest, key);
  return *oldest;
}

int64_t CostTable::Guess(CostCell& cell, int64_t at_least_ns) {
  const int64_t typical = typical_ns_.load(kRelaxed);
  int64_t guess = typical == 0 ? kFirstGuessNs : typical;
  if (guess < at_least_ns) guess = at_least_ns;
  cell.guessed.fetch_add(1, kRelaxed);
  cell.guessed_ns.fetch_add(guess, kRelaxed);
  return guess;
}

int64_t CostTable::Observe(CostCell& cell, CostKey key, int64_t gpu_ns, Neighbours neighbours) {
  if (cell.key.load(kRelaxed) != key) return 0;
  if (gpu_ns < kCheapestNs) gpu_ns = kCheapestNs;
  const uint32_t samples = cell.samples.load(kRelaxed);
  const int64_t cost = Blend(cell.cost_ns.load(kRelaxed), gpu_ns, samples, neighbours);
  cell.cost_ns.store(cost, kRelaxed);
  if (samples + 1 >= kFirstFew) cell.fast_ns.store(cost, kRelaxed);
  if (samples < kFirstFew) cell.samples.store(samples + 1, kRelaxed);
  const int64_t typical = typical_ns_.load(kRelaxed);
  typical_ns_.store(typical == 0 ? gpu_ns : typical + (gpu_ns - typical) / 16, kRelaxed);
  if (samples > 0) return 0;
  cell.first_stamp_ns.store(0, kRelaxed);
  return int64_t{cell.guessed.exchange(0, kRelaxed)} * cost - cell.guessed_ns.exchange(0, kRelaxed);
}

void CostTable::Forget(CostKey key) {
  if (CostCell* cell = Probe(key)) Reset(*cell, key);
}

}  // namespace partage::intercept
