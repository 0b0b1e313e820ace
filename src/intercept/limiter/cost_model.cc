// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/cost_model.h"

namespace partage::intercept::limiter {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr int64_t kFirstGuessNs = 100'000;
constexpr int64_t kCheapestNs = 1;  // so that a cost is never nothing

constexpr int64_t kMostOwedNs = 500'000'000;  // what guesses may cost later, beyond one launch
constexpr uint32_t kAll = 1 << 20;
constexpr uint32_t kOften = kAll / 5;

int64_t Mean(int64_t old_ns, int64_t gpu_ns, uint32_t samples) {
  return old_ns + (gpu_ns - old_ns) / (samples < CostTable::kFirstFew ? samples + 1 : 8);
}

int64_t Floor(int64_t old_ns, int64_t gpu_ns) {
  if (gpu_ns < old_ns) return gpu_ns;
  const int64_t above = gpu_ns - old_ns;
  if (above <= old_ns / 16) return old_ns + above / 8;  // the same kernel on another day
  return old_ns + old_ns / 16384;                       // neighbours, most likely: believed only if it never comes back
}

uint32_t NearFloor(uint32_t old, bool near, uint32_t samples) {
  return samples == 0 ? kOften : near ? old + (kAll - old) / 32 : old - old / 32;
}

int64_t Chosen(const CostCell& cell, Neighbours neighbours) {
  const bool constant = cell.near_floor.load(kRelaxed) >= kOften;
  const bool floor = neighbours == Neighbours::kBusy || (neighbours == Neighbours::kUnknown && constant);
  return floor ? cell.floor_ns.load(kRelaxed) : cell.mean_ns.load(kRelaxed);
}

/// Takes in a span; returns the new cost.
int64_t Learn(CostCell& cell, int64_t gpu_ns, uint32_t samples, Neighbours neighbours) {
  const int64_t floor = samples == 0 ? gpu_ns : Floor(cell.floor_ns.load(kRelaxed), gpu_ns);
  const bool near = gpu_ns - floor <= floor / 16;
  cell.floor_ns.store(floor, kRelaxed);
  cell.near_floor.store(NearFloor(cell.near_floor.load(kRelaxed), near, samples), kRelaxed);
  cell.mean_ns.store(Mean(samples == 0 ? 0 : cell.mean_ns.load(kRelaxed), gpu_ns, samples), kRelaxed);
  const int64_t cost = Chosen(cell, neighbours);
  cell.cost_ns.store(cost, kRelaxed);
  return cost;
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
  const int64_t cost = Learn(cell, gpu_ns, samples, neighbours);
  if (samples + 1 >= kFirstFew) cell.fast_ns.store(cost, kRelaxed);
  if (samples < kFirstFew) cell.samples.store(samples + 1, kRelaxed);
  const int64_t typical = typical_ns_.load(kRelaxed);
  typical_ns_.store(typical == 0 ? gpu_ns : typical + (gpu_ns - typical) / 16, kRelaxed);
  if (samples > 0) return 0;
  cell.first_stamp_ns.store(0, kRelaxed);
  const int64_t owed = int64_t{cell.guessed.exchange(0, kRelaxed)} * cost - cell.guessed_ns.exchange(0, kRelaxed);
  const int64_t most = cost > kMostOwedNs ? cost : kMostOwedNs;
  return owed > most ? most : owed;
}

void CostTable::Forget(CostKey key) {
  if (CostCell* cell = Probe(key)) Reset(*cell, key);
}

}  // namespace partage::intercept::limiter
