// SPDX-License-Identifier: Apache-2.0
// The usage file: what every process of one container writes, byte by byte. docs/region.md shows the same as a table.
//
// Frozen: a change of anything here that moves, adds or reinterprets a byte is a new kRegionAbi. The layout hash notices when that was
// forgotten. Every word is an atomic, written by processes that may be killed between any two instructions; ledger.h says in which order
// and why that is enough.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace partage::shm {

inline constexpr std::uint64_t kRegionMagic = 0x3145'4741'5355'5450;  ///< "PTUSAGE1" in memory on a little-endian machine
inline constexpr std::uint32_t kRegionAbi = 3;
inline constexpr std::uint32_t kByteOrderMark = 0x0102'0304;
inline constexpr std::size_t kLine = 128;  ///< two cache lines: adjacent-line prefetch makes neighbours of 64 bytes share

inline constexpr unsigned kMaxDevices = 16;
inline constexpr unsigned kMaxProcesses = 512;
inline constexpr unsigned kLanes = 4;  ///< threads of one process that can be inside Reserve or Refund at the same instant

/// What the memory is for. The value is a column of the file.
enum class MemoryClass : std::uint32_t { kContext, kModule, kLinear, kPool, kVmm, kArray, kManaged, kGraph, kIpc };
inline constexpr unsigned kMemoryClasses = 9;

using Word = std::atomic<std::uint64_t>;
using SignedWord = std::atomic<std::int64_t>;
static_assert(sizeof(Word) == 8 && Word::is_always_lock_free);

/// Written once, before the file gets its name.
struct RegionHeader {
  std::uint64_t magic;
  std::uint32_t abi;
  std::uint32_t byte_order;
  std::uint64_t layout_hash;
  std::uint64_t size;  ///< of the whole file
  std::uint32_t devices;
  std::uint32_t processes;
  std::uint32_t lanes;
  std::uint32_t classes;
  Word next_sweep_ns;  ///< CLOCK_MONOTONIC; who moves it forward sweeps
  Word sweeps;         ///< sweeps done since the file was made
  Word settled;        ///< dead processes whose memory was returned
  std::byte reserved[4096 - 72];
};
static_assert(sizeof(RegionHeader) == 4096);

/// Memory of one device. `used` and `last` change together, by one 16-byte compare-and-swap.
struct alignas(kLine) DeviceUsage {
  Word used;          ///< bytes reserved by all processes together, never above the limit the reserving process saw
  Word last;          ///< stamp of the operation that wrote `used` (ledger.h); no stamp comes twice in the life of a file
  Word refused;       ///< reservations that did not fit
  Word context_cost;  ///< bytes a context takes, | 1; even: CLOCK_MONOTONIC since when somebody measures it; 0: nobody has
  std::byte reserved[kLine - 32];
};
static_assert(sizeof(DeviceUsage) == kLine);

/// GPU time that all processes of the container share on one device. Owned by the limiter; intercept/limiter/bucket.h is its manual.
struct alignas(kLine) TokenBucket {
  SignedWord spent_ns;         ///< GPU time that launches were charged so far
  SignedWord granted_ns;       ///< GPU time granted so far; a launch goes when this reaches what `spent_ns` was before it
  SignedWord refill_stamp_ns;  ///< CLOCK_MONOTONIC; time up to here is granted. 0: never used
  SignedWord hungry_stamp_ns;  ///< CLOCK_MONOTONIC; when a launch last had to wait
  SignedWord reserved[kLine / 8 - 4];
};
static_assert(sizeof(TokenBucket) == kLine);

/// Where one thread at a time works. The counts of a slot are the sums over its lanes, modulo 2^64: what one lane reserved another may
/// refund.
struct alignas(kLine) Lane {
  Word busy;          ///< 1 while a thread is inside
  Word applied;       ///< number of this lane's last operation that reached its device; never falls, not even when the slot changes hands
  Word intent;        ///< number of the operation described by the next two words; 0 when there is none
  Word intent_where;  ///< device × 16 + class; class 15 is "every class and every lane of the slot"
  Word intent_count;  ///< the value the count takes
  std::byte reserved[kLine - 40];
  Word counts[kMaxDevices][kMemoryClasses];
};
static_assert(sizeof(Lane) == kLine + 8 * kMaxDevices * kMemoryClasses);

/// One process. Its key is in RegionLayout::owners. All words but the lanes' `applied` are zero while the slot is free.
struct alignas(kLine) Slot {
  Word settler;   ///< who is returning a dead owner's memory (Identity::mark); means something only while its byte is locked
  Word image;     ///< tells an exec: where the owner's image found its random bytes; 0 = unknown
  Word proc;      ///< names the mount at /proc where the owner's pid can be looked up (Identity::proc); 0 = none
  Word host_pid;  ///< the owner's pid on the host, as the node agent's socket told it; 0 = nobody has
  std::byte reserved[kLine - 32];
  Word gpu_ns[kMaxDevices];  ///< GPU time of this process so far; written by the limiter
  Lane lanes[kLanes];
};
static_assert(sizeof(Slot) == 2 * kLine + kLanes * sizeof(Lane));

/// Record locks (fcntl) on the file, which the kernel drops when their process ends or execs:
/// the byte where owners[i] begins is locked by the owner for as long as it lives; the byte where slots[i].settler begins, while somebody
/// settles slot i.
struct RegionLayout {
  RegionHeader header;
  Word owners[kMaxProcesses];  ///< process key: pid and time in one word; 0 = free. Claimed by compare-and-swap, never moved
  DeviceUsage devices[kMaxDevices];
  TokenBucket buckets[kMaxDevices];
  Slot slots[kMaxProcesses];
};
static_assert(sizeof(RegionLayout) % 4096 == 0);

/// Key of a process: pid in the upper 22 bits (Linux has no larger ones), below it a time at which the process lived, in ticks of 10 ms since boot
/// (CLOCK_BOOTTIME; enough for 1394 years of uptime); 0 = not known.
inline constexpr unsigned kTimeBits = 42;
inline constexpr std::uint64_t KeyOf(std::uint64_t pid, std::uint64_t ticks) {
  return pid << kTimeBits | (ticks & ((1ull << kTimeBits) - 1));
}
inline constexpr std::uint64_t PidOf(std::uint64_t key) { return key >> kTimeBits; }
inline constexpr std::uint64_t TicksOf(std::uint64_t key) { return key & ((1ull << kTimeBits) - 1); }

}  // namespace partage::shm
