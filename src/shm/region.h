// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "shm/fault.h"
#include "shm/layout.h"
#include "shm/process.h"

namespace partage::shm {

inline constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};
inline constexpr unsigned kNoSlot = kMaxProcesses;

/// One process's handle on the usage file of its container: how much memory of each device all its processes hold, never above the limit,
/// and true again within a second of any of them being killed at any instruction.
///
/// Life:  Open… → Claim → (Reserve | Refund | Sweep)* → Release.   After fork, in the child: AfterFork → Claim.
/// Nothing here waits for another process, allocates, or fails because of one. A static object of this class needs no constructor and no
/// destructor at run time. What lets the books be repaired is written in ledger.h; how the dead are told from the living, in process.h and
/// at RegionLayout. One handle per file and process: opening a second one (a second copy of the library) costs the first its record lock,
/// and then only processes with the same /proc can tell that it lives.
/// Thread-safe from Claim on: Reserve, Refund, Used…, Sweep… from any thread and from signal handlers. Open…, Claim, AfterFork, Release:
/// one thread, alone.
///
///     static Region region;
///     if (region.OpenOrCreate(path) != Fault::kNone) region.OpenPrivate();
///     region.Claim();
///     if (!region.Reserve(0, MemoryClass::kLinear, bytes, limit)) return CUDA_ERROR_OUT_OF_MEMORY;
class Region {
 public:
  /// Maps an existing file. kMissing, kPermission, kNotAFile, kSize, kMagic, kByteOrder, kAbi, kLayout, kContent, kUnavailable leave the
  /// handle closed.
  Fault Open(const char* path);
  /// The same file by a descriptor, which is the handle's from now on, or closed. kPermission when it is not open for writing.
  Fault OpenDescriptor(int fd);
  /// The same, for looking only: nothing but the reading functions may be called.
  Fault OpenReadOnly(const char* path);
  /// Maps the file, making it first when there is none (mode 0666: all users of the container share it). Never visible half made; of
  /// several makers one wins.
  Fault OpenOrCreate(const char* path);
  /// A region without a file, shared with children of fork only. kUnavailable.
  Fault OpenPrivate();
  /// A region in which nobody gets a slot, so that every reservation is refused: for a process that must not use what it cannot account for.
  /// kUnavailable.
  Fault OpenRefusing();
  bool is_open() const { return layout_ != nullptr; }
  /// Whether it was opened by OpenRefusing.
  bool refuses() const { return fd_ < 0; }

  /// Takes a slot for this process, after returning what it held before an exec. kFull when 512 live processes have one; kUnavailable when
  /// the program closed our descriptor. REQUIRES: open for writing, no slot held.
  Fault Claim();
  /// Returns all that this process holds and its slot. REQUIRES: no other thread inside.
  void Release();
  /// In the child of a fork: forgets the parent's slot without touching it.
  void AfterFork();
  /// kNoSlot before Claim.
  unsigned slot() const { return slot_; }

  /// Adds `bytes` to the device when that keeps it at or below `limit`, in one atomic step; false, and nothing changed, when it does not.
  /// When it does not fit, dead processes are looked for first: what they held is free. kNoLimit charges in any case (a context that exists
  /// already). False too without a slot. REQUIRES: device < kMaxDevices.
  bool Reserve(unsigned device, MemoryClass memory_class, std::uint64_t bytes, std::uint64_t limit);
  /// Gives back what Reserve took; any thread, in any portions. Never fails; what is more than the device holds is ignored.
  void Refund(unsigned device, MemoryClass memory_class, std::uint64_t bytes);

  /// Bytes reserved on the device by all processes.
  std::uint64_t Used(unsigned device) const { return layout_->devices[device].used.load(std::memory_order_acquire); }
  /// Bytes the process in this slot holds; a moment's picture while it works.
  std::uint64_t UsedBy(unsigned slot, unsigned device) const;
  std::uint64_t UsedBy(unsigned slot, unsigned device, MemoryClass memory_class) const;
  /// The same over all processes.
  std::uint64_t UsedFor(unsigned device, MemoryClass memory_class) const;

  /// Returns the memory of processes that are gone (killed, exited, replaced by exec), exactly once whoever else sweeps, whenever any
  /// sweeper is killed. Returns how many slots it freed. About a microsecond per live process. Does nothing when the program closed our
  /// descriptor: other processes do it.
  unsigned Sweep();
  /// Sweep when no process has for 200 ms; else one load. For helper threads; four calls a second from any process keep the books true
  /// within a second.
  unsigned SweepIfDue(std::uint64_t monotonic_ns);
  /// Whether the next sweep will free this slot: its owner is dead. Works on a read-only view too.
  bool IsOwnerGone(unsigned slot) const;

  /// What a context costs, told among processes (intercept/memory/context_cost.h).
  Word& context_cost(unsigned device) { return layout_->devices[device].context_cost; }
  TokenBucket& bucket(unsigned device) { return layout_->buckets[device]; }
  /// Notes what the node agent calls this process. REQUIRES: a slot.
  void SetHostPid(std::uint64_t pid) { layout_->slots[slot_].host_pid.store(pid, std::memory_order_relaxed); }
  /// GPU time of this process. REQUIRES: a slot.
  Word& gpu_ns(unsigned device) { return layout_->slots[slot_].gpu_ns[device]; }
  const RegionLayout& layout() const { return *layout_; }

 private:
  struct Swept {
    unsigned freed = 0;
    unsigned others_at_it = 0;
  };
  Fault Adopt(int fd, bool writable);
  void SettleWhatExecLeft();
  bool TakeFreeSlot();
  Swept SweepAll();
  bool IsGone(unsigned slot, std::uint64_t owner) const;
  bool SettleGone(unsigned slot, std::uint64_t owner);

  RegionLayout* layout_ = nullptr;
  int fd_ = -1;
  unsigned slot_ = kNoSlot;
  std::uint64_t file_id_ = 0;
  Identity self_;
};

}  // namespace partage::shm
