// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace partage::intercept::loader {

/// From the driver's address of an entry point to the number of its hook. Grows only; one writer at a time, any number of readers. Thread-safe so.
/// Where two names share an address the first one entered wins. Zero-initialised means empty. A word per slot and no more: every process of a container
/// fills one, and a page touched costs as much as some thirty probes.
template <std::size_t kSlots>
class AddressMap {
  static_assert((kSlots & (kSlots - 1)) == 0);

 public:
  static constexpr unsigned kMostNumbers = 0xFFFF;

  constexpr AddressMap() = default;

  /// False when the map is full (it is kept at most half full, so that probes stay short), and for what no address or number is: above 48 bits, kMostNumbers.
  bool Put(const void* real, unsigned number) {
    if (2 * size_ >= kSlots || KeyOf(real) >> (64 - kNumberBits) != 0 || number >= kMostNumbers) return false;
    std::size_t i = SlotOf(real);
    for (; words_[i].load(std::memory_order_relaxed) != 0; i = (i + 1) % kSlots) {
      if (words_[i].load(std::memory_order_relaxed) >> kNumberBits == KeyOf(real)) return true;
    }
    words_[i].store(KeyOf(real) << kNumberBits | (number + 1), std::memory_order_release);
    ++size_;
    return true;
  }

  /// The number, or -1.
  int Find(const void* real) const {
    for (std::size_t i = SlotOf(real);; i = (i + 1) % kSlots) {
      const std::uint64_t word = words_[i].load(std::memory_order_acquire);
      if (word == 0) return -1;
      if (word >> kNumberBits == KeyOf(real)) return static_cast<int>(word & kMostNumbers) - 1;
    }
  }

 private:
  static constexpr unsigned kNumberBits = 16;

  static std::uint64_t KeyOf(const void* real) { return reinterpret_cast<std::uintptr_t>(real); }
  static std::size_t SlotOf(const void* real) { return (KeyOf(real) >> 4) * 0x9E3779B97F4A7C15U >> 32 & (kSlots - 1); }

  std::atomic<std::uint64_t> words_[kSlots];  // address × 2^16 + number + 1; 0: free
  std::size_t size_ = 0;
};

}  // namespace partage::intercept::loader
