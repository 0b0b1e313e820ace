// SPDX-License-Identifier: Apache-2.0
#include "test/support/libcuda/cuda/arena.h"

#include <sys/mman.h>

#include <atomic>

namespace partage::fake_gpu {
namespace {

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

uint64_t Key(uint64_t bytes, uint64_t alignment) { return RoundUp(bytes, 512) + (alignment > 512 ? alignment >> 10 : 0); }

}  // namespace

bool Arena::MapAt(uint64_t address, uint64_t size, int protection, int more_flags) {
  void* memory = mmap(reinterpret_cast<void*>(address), size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | more_flags, -1, 0);
  if (memory == MAP_FAILED) return false;
  madvise(memory, size, MADV_DONTDUMP);
  writable_ = protection != PROT_NONE;
  begin_ = RoundUp(reinterpret_cast<uint64_t>(memory), uint64_t{2} << 20);
  end_ = reinterpret_cast<uint64_t>(memory) + size;
  next_ = begin_;
  return true;
}

void Arena::Map() {
  if (wanted_ != 0) {
    MapAt(wanted_, wanted_size_, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE);
    return;
  }
  for (uint64_t size = uint64_t{1} << 42; size >= uint64_t{1} << 36; size >>= 2) {
    for (const int protection : {PROT_READ | PROT_WRITE, PROT_NONE}) {
      if (MapAt(0, size, protection, 0)) return;
    }
  }
}

uint64_t Arena::Take(uint64_t bytes, uint64_t alignment) {
  if (begin_ == 0) Map();
  auto& reusable = free_[Key(bytes, alignment)];
  if (!reusable.empty()) {
    const uint64_t address = reusable.back();
    reusable.pop_back();
    return address;
  }
  const uint64_t address = RoundUp(next_, alignment);
  if (bytes > end_ - address) return 0;
  next_ = address + RoundUp(bytes, 512);
  return address;
}

void Arena::Give(uint64_t address, uint64_t bytes, uint64_t alignment) {
  constexpr uint64_t kWorthForgetting = 64 << 10;
  if (bytes >= kWorthForgetting && writable_) {
    const uint64_t first = RoundUp(address, 4096);
    madvise(reinterpret_cast<void*>(first), (address + bytes - first) / 4096 * 4096, MADV_DONTNEED);
  }
  free_[Key(bytes, alignment)].push_back(address);
}

uint64_t Arena::Bump(uint64_t bytes) {
  constexpr uint64_t kBegin = uint64_t{1} << 46;  // nothing is there: in fast mode nobody reads or writes device memory
  static std::atomic<uint64_t> next{kBegin};
  return next.fetch_add(RoundUp(bytes, 512), std::memory_order_relaxed);
}

}  // namespace partage::fake_gpu
