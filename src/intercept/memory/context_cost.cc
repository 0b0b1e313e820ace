// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/context_cost.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/clock.h"
#include "shm/process.h"

namespace partage::intercept::memory {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::uint64_t kPatienceNs = 100'000'000;

bool IsCost(std::uint64_t word) { return (word & 1) != 0; }

/// The half that tells a cost from a stamp; futexes have 32 bits. Not private ones: those who wait are other processes.
void* FutexOf(shm::Word& word) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  return &word;
}

void WaitWhile(shm::Word& word, std::uint64_t value, std::uint64_t most_ns) {
  const timespec most{0, static_cast<long>(most_ns)};
  syscall(SYS_futex, FutexOf(word), static_cast<long>(FUTEX_WAIT), value & UINT32_MAX, &most, nullptr, 0L);
}

void WakeAll(shm::Word& word) {
  syscall(SYS_futex, FutexOf(word), static_cast<long>(FUTEX_WAKE), static_cast<long>(INT_MAX), nullptr, nullptr, 0L);
}

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

void ContextCost::Tell(std::uint64_t bytes) const {
  const shm::KeepErrno keep;
  word_.store((bytes + 1) | 1, kRelaxed);
  WakeAll(word_);
}

void ContextCost::GiveUp() const {
  std::uint64_t word = word_.load(kRelaxed);
  if (IsCost(word) || !word_.compare_exchange_strong(word, 0, kRelaxed)) return;
  const shm::KeepErrno keep;
  WakeAll(word_);
}

bool ContextCost::Await(std::uint64_t* bytes) const {
  const shm::KeepErrno keep;
  const std::uint64_t until = shm::MonotonicNs() + kPatienceNs;
  while (!Known(bytes)) {
    const std::uint64_t word = word_.load(kRelaxed), now = shm::MonotonicNs();
    if (word == 0 || now >= until) return Known(bytes);
    if (!IsCost(word)) WaitWhile(word_, word, until - now);
  }
  return true;
}

}  // namespace partage::intercept::memory
