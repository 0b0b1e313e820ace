// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace partage::intercept::loader {

/// From the driver's address of an entry point to its hook. Grows only; one writer at a time, any number of readers. Thread-safe so.
/// Where two names share an address the first one entered wins. Zero-initialised means empty.
template <size_t kSlots>
class AddressMap {
  static_assert((kSlots & (kSlots - 1)) == 0);

 public:
  constexpr AddressMap() = default;

  /// False when the map is full; it is kept at most half full, so that probes stay short.
  bool Put(const void* real, void* hook) {
    if (2 * size_ >= kSlots) return false;
    size_t i = SlotOf(real);
    for (; entries_[i].real.load(std::memory_order_relaxed) != nullptr; i = (i + 1) % kSlots) {
      if (entries_[i].real.load(std::memory_order_relaxed) == real) return true;
    }
    entries_[i].hook = hook;
    entries_[i].real.store(real, std::memory_order_release);
    ++size_;
    return true;
  }

  void* Find(const void* real) const {
    for (size_t i = SlotOf(real);; i = (i + 1) % kSlots) {
      const void* const found = entries_[i].real.load(std::memory_order_acquire);
      if (found == nullptr) return nullptr;
      if (found == real) return entries_[i].hook;
    }
  }

 private:
  static size_t SlotOf(const void* real) { return (reinterpret_cast<uintptr_t>(real) >> 4) * 0x9E3779B97F4A7C15U >> 32 & (kSlots - 1); }

  struct Entry {
    std::atomic<const void*> real{nullptr};
    void* hook = nullptr;
  };
  Entry entries_[kSlots];
  size_t size_ = 0;
};

}  // namespace partage::intercept::loader
