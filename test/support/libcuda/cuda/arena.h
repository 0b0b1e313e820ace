// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace partage::fake_gpu {

/// Addresses of device memory: a wide range of this process that takes memory only where it is written, so that copies and sets really happen.
/// Needs outside locking, except Bump.
class Arena {
 public:
  /// Anywhere, and of terabytes.
  Arena() = default;
  /// Exactly there; nothing can be taken from it where something else is.
  Arena(uint64_t begin, uint64_t size) : wanted_(begin), wanted_size_(size) {}

  /// An address range aligned to `alignment` (at least 512, a power of two); 0 when the range is used up.
  uint64_t Take(uint64_t bytes, uint64_t alignment = 512);
  /// Makes it free again; its contents are forgotten. REQUIRES: the size and alignment of Take.
  void Give(uint64_t address, uint64_t bytes, uint64_t alignment = 512);
  /// A new address every time, for fast mode. Thread-safe.
  static uint64_t Bump(uint64_t bytes);

  bool Contains(uint64_t address) const { return address >= begin_ && address < end_; }
  /// Whether these bytes can be read and written.
  bool Holds(uint64_t address, uint64_t bytes) const { return writable_ && address >= begin_ && address + bytes <= end_ && bytes <= end_; }

 private:
  void Map();
  bool MapAt(uint64_t address, uint64_t size, int protection, int more_flags);

  uint64_t wanted_ = 0, wanted_size_ = 0;
  bool writable_ = false;
  uint64_t begin_ = 0, end_ = 0, next_ = 0;
  std::unordered_map<uint64_t, std::vector<uint64_t>> free_;  // addresses by size and alignment
};

}  // namespace partage::fake_gpu
