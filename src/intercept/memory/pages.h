// SPDX-License-Identifier: Apache-2.0
// Memory for the accounting tables, straight from the kernel: the host program's heap is not ours to use. Thread-safe.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace partage::intercept::memory {

inline constexpr std::size_t kSmallPage = 4096, kHugePage = 2U << 20;

/// Zeroed pages for `bytes` (a power of two, at least a page); null when the kernel has none. From 2 MiB on aligned for huge pages and asking for
/// them: a table of a million entries misses the TLB on every look-up otherwise, which costs more than the look-up.
inline void* TakePages(std::size_t bytes) {
  const std::size_t slack = bytes >= kHugePage ? kHugePage : 0;
  const int at_once = bytes <= kSmallPage ? MAP_POPULATE : 0;  // or it would be read, which is a fault, and then written, which is another
  void* const pages = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | at_once, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  if (slack == 0) return pages;
  char* const begin = static_cast<char*>(pages);
  const std::size_t before = (0 - reinterpret_cast<std::uintptr_t>(begin)) % kHugePage;
  if (before > 0) munmap(begin, before);
  if (before < slack) munmap(begin + before + bytes, slack - before);
  madvise(begin + before, bytes, MADV_HUGEPAGE);
  return begin + before;
}

inline void GivePages(void* pages, std::size_t bytes) { munmap(pages, bytes); }

}  // namespace partage::intercept::memory
