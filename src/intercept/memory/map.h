// SPDX-License-Identifier: Apache-2.0
// An open-addressing hash map for another program's process: no heap, no exceptions, no dynamic initialiser.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "intercept/memory/pages.h"

namespace partage::intercept::memory {

/// Key (an address or a handle, never 0) → Value. Pages come from mmap, first when something is put, and double at a load of 3/8 (a fuller table costs an
/// allocation with a million blocks live an eighth more); they are kept until Clear, so that steady use makes no system call. Linear probing in runs of
/// neighbouring addresses, with backward-shift deletion: no tombstones, so a million puts and takes leave it as fast as new. Not thread-safe:
/// callers hold a lock. Pointers into it live until the next Put, Take or EraseIf.
template <class Value>
class Map {
  static_assert(std::is_trivially_copyable_v<Value> && std::is_trivially_destructible_v<Value>);

 public:
  constexpr Map() = default;
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;

  std::size_t size() const { return size_; }

  /// The key's value, or null.
  Value* Find(std::uint64_t key) {
    if (size_ == 0 || key == 0) return nullptr;
    Entry& entry = entries_[Probe(key)];
    return entry.key == key ? &entry.value : nullptr;
  }

  /// The place of the key's value: the present one, or a new zeroed one. Null when the key is 0 or the kernel gives no memory.
  Value* Place(std::uint64_t key) {
    if (key == 0 || (NeedsRoom() && !Grow() && size_ + 1 >= capacity_)) return nullptr;
    Entry& entry = entries_[Probe(key)];
    if (entry.key != key) {
      entry = Entry{key, Value{}};
      ++size_;
      FetchNextRun(key);
    }
    return &entry.value;
  }

  /// Removes the key and says what it had. False: it was not there, `value` is untouched.
  bool Take(std::uint64_t key, Value* value) {
    return TakeIf(key, value, [](const Value&) { return true; });
  }

  /// Take, but only when wanted(value).
  template <class Wanted>
  bool TakeIf(std::uint64_t key, Value* value, Wanted&& wanted) {
    if (size_ == 0 || key == 0) return false;
    const std::size_t i = Probe(key);
    if (entries_[i].key != key || !wanted(entries_[i].value)) return false;
    *value = entries_[i].value;
    Erase(i);
    return true;
  }

  /// Removes every entry for which remove(key, value) is true.
  template <class Remove>
  void EraseIf(Remove&& remove) {
    for (std::size_t i = 0; i < capacity_;) {
      // Whatever shifts into place i must be looked at too: do not advance.
      if (entries_[i].key != 0 && remove(entries_[i].key, entries_[i].value)) {
        Erase(i);
      } else {
        ++i;
      }
    }
  }

  /// The first entry for which match(key, value) is true, in no order; null when there is none. Looks at all.
  template <class Match>
  Value* FindIf(Match&& match) {
    for (std::size_t i = 0; i < capacity_; ++i) {
      if (entries_[i].key != 0 && match(entries_[i].key, entries_[i].value)) return &entries_[i].value;
    }
    return nullptr;
  }

  /// Empty again, pages given back.
  void Clear() {
    if (entries_ != nullptr) GivePages(entries_, capacity_ * sizeof(Entry));
    entries_ = nullptr;
    capacity_ = size_ = 0;
    shift_ = 64;
    step_ = kFirstStep;
  }

 private:
  struct Entry {
    std::uint64_t key;  // 0: free
    Value value;
  };
  static constexpr std::size_t kFirstCapacity = 256, kInCaches = 4096;

  // Neighbours stay neighbours: drivers hand out addresses in rising order, so that the next one falls into cache lines that are at hand. `step_` is how
  // far apart they are, as a power of two. Where they turn out closer, a run works as a bucket, so it must not be too large; of blocks larger than that
  // no GPU holds so many that they do not fit the caches.
  static constexpr unsigned kRunBits = 3, kFirstStep = 9, kLargestStep = 12;
  static constexpr std::size_t kRun = std::size_t{1} << kRunBits;

  std::size_t Home(std::uint64_t key) const {
    const std::uint64_t steps = key >> step_;
    const auto run = static_cast<std::size_t>(((steps >> kRunBits) * 0x9E3779B97F4A7C15U) >> shift_);
    return run << kRunBits | (steps & (kRun - 1));
  }

  /// Where keys rise, the next run is needed soon: by then it is in the cache. Small tables are there anyway.
  void FetchNextRun(std::uint64_t key) const {
    if (capacity_ <= kInCaches || (key >> step_ & (kRun - 1)) != 0) return;
    const Entry* const next = &entries_[Home(key + (kRun << step_))];
    __builtin_prefetch(next, 1);
    __builtin_prefetch(next + kRun / 2, 1);
  }

  /// The power of two that nearly all keys are multiples of, up to kLargestStep.
  unsigned CommonStep() const {
    std::size_t ends_in[kLargestStep + 1] = {};  // so many zeros, or more
    for (std::size_t i = 0; i < capacity_; ++i) {
      if (entries_[i].key != 0) ends_in[__builtin_ctzll(entries_[i].key | 1U << kLargestStep)] += 1;
    }
    unsigned step = kLargestStep;
    for (std::size_t multiples = ends_in[step]; step > 0 && multiples < size_ - size_ / 8; multiples += ends_in[step]) --step;
    return step;
  }

  /// Where the key is, or the free place where it would go. REQUIRES: a free place, so pages.
  std::size_t Probe(std::uint64_t key) const {
    std::size_t i = Home(key);
    while (entries_[i].key != 0 && entries_[i].key != key) i = (i + 1) & (capacity_ - 1);
    return i;
  }

  bool NeedsRoom() const { return (size_ + 1) * 8 > capacity_ * 3; }

  bool Grow() {
    const std::size_t capacity = capacity_ == 0 ? kFirstCapacity : capacity_ * 2;
    void* const pages = TakePages(capacity * sizeof(Entry));
    if (pages == nullptr) return false;
    step_ = size_ == 0 ? kFirstStep : CommonStep();
    Entry* old = entries_;
    const std::size_t old_capacity = capacity_;
    entries_ = static_cast<Entry*>(pages);
    capacity_ = capacity;
    shift_ = 64U + kRunBits - static_cast<unsigned>(__builtin_ctzll(capacity));
    for (std::size_t i = 0; i < old_capacity; ++i) {
      if (old[i].key != 0) entries_[Probe(old[i].key)] = old[i];
    }
    if (old != nullptr) GivePages(old, old_capacity * sizeof(Entry));
    return true;
  }

  /// Closes the gap at `hole`: an entry behind it moves up when its home is not between the gap and itself.
  void Erase(std::size_t hole) {
    const std::size_t mask = capacity_ - 1;
    for (std::size_t i = (hole + 1) & mask; entries_[i].key != 0; i = (i + 1) & mask) {
      const std::size_t behind_home = (i - Home(entries_[i].key)) & mask;
      if (behind_home < ((i - hole) & mask)) continue;
      entries_[hole] = entries_[i];
      hole = i;
    }
    entries_[hole].key = 0;
    --size_;
  }

  Entry* entries_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  unsigned shift_ = 64;
  unsigned step_ = kFirstStep;
};

}  // namespace partage::intercept::memory
