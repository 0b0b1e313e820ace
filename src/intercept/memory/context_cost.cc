// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/context_cost.h"

#include <time.h>

namespace partage::intercept::memory {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr int kLooks = 100;
constexpr timespec kBetweenLooks{0, 1'000'000};

bool IsCost(std::uint64_t word) { return (word & 1) != 0; }

}  // namespace

bool ContextCost::Known(std::uint64_t* bytes) const {
  const std::uint64_t word = word_.load(kRelaxed);
  if (IsCost(word)) *bytes = word & ~std::uint64_t{1};
  return IsCost(word);
}

bool ContextCost::Claim(std::uint64_t now_ns) const {
  std::uint64_t word = word_.load(kRelaxed);
  const bool from_another_boot = word > now_ns;
  if (IsCost(word) || (word != 0 && now_ns - word < kStaleNs && !from_another_boot)) return false;
  return word_.compare_exchange_strong(word, (now_ns | 1) + 1, kRelaxed);
}

void ContextCost::Tell(std::uint64_t bytes) const { word_.store((bytes + 1) | 1, kRelaxed); }

void ContextCost::GiveUp() const {
  std::uint64_t word = word_.load(kRelaxed);
  if (!IsCost(word)) word_.compare_exchange_strong(word, 0, kRelaxed);
}

bool ContextCost::Await(std::uint64_t* bytes) const {
  for (int looks = 0; looks < kLooks && word_.load(kRelaxed) != 0; ++looks) {
    if (Known(bytes)) return true;
    nanosleep(&kBetweenLooks, nullptr);
  }
  return Known(bytes);
}

}  // namespace partage::intercept::memory
