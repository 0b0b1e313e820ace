// SPDX-License-Identifier: Apache-2.0
#include "shm/region.h"

#include <sched.h>
#include <unistd.h>

#include "shm/clock.h"
#include "shm/file.h"
#include "shm/layout_fields.h"
#include "shm/ledger.h"

namespace partage::shm {
namespace {

constexpr std::uint64_t kSweepPeriodNs = 200'000'000;
constexpr int kPatience = 64;  // times to let a settlement by somebody else finish before memory is refused

constexpr Preamble kRegionPreamble = {kRegionMagic, kRegionAbi, kByteOrderMark, kRegionHash, sizeof(RegionLayout)};

struct FileHead {
  Preamble preamble = kRegionPreamble;
  std::uint32_t devices = kMaxDevices;
  std::uint32_t processes = kMaxProcesses;
  std::uint32_t lanes = kLanes;
  std::uint32_t classes = kMemoryClasses;
};
constexpr FileHead kHead;

constexpr std::size_t OwnerByte(unsigned slot) { return offsetof(RegionLayout, owners) + slot * sizeof(Word); }
constexpr std::size_t SettlerByte(unsigned slot) { return offsetof(RegionLayout, slots) + slot * sizeof(Slot) + offsetof(Slot, settler); }

/// What nobody has done for a while is due: of many processes that start together each would look at all the others. A time too far ahead is of another boot.
bool IsDue(std::uint64_t due_ns, std::uint64_t now_ns) { return now_ns >= due_ns || due_ns > now_ns + kSweepPeriodNs; }

bool HasOurCounts(const RegionHeader& header) {
  return header.devices == kMaxDevices && header.processes == kMaxProcesses && header.lanes == kLanes && header.classes == kMemoryClasses;
}

}  // namespace

Fault Region::Open(const char* path) {
  const KeepErrno keep;
  int fd = -1;
  const Fault fault = OpenFile(path, true, kRegionPreamble, &fd);
  return fault != Fault::kNone ? fault : Adopt(fd, true);
}

Fault Region::OpenDescriptor(int fd) {
  const KeepErrno keep;
  const Fault fault = TakeFile(true, kRegionPreamble, &fd);
  return fault != Fault::kNone ? fault : Adopt(fd, true);
}

Fault Region::OpenReadOnly(const char* path) {
  const KeepErrno keep;
  int fd = -1;
  const Fault fault = OpenFile(path, false, kRegionPreamble, &fd);
  return fault != Fault::kNone ? fault : Adopt(fd, false);
}

Fault Region::OpenOrCreate(const char* path) {
  const KeepErrno keep;
  const Fault found = Open(path);
  if (found != Fault::kMissing) return found;
  const MakersTurn turn(path);
  const Fault meanwhile = Open(path);
  if (meanwhile != Fault::kMissing) return meanwhile;
  const Fault made = MakeFile(path, &kHead, sizeof kHead, sizeof(RegionLayout), false);
  return made != Fault::kNone ? made : Open(path);
}

Fault Region::OpenPrivate() {
  const KeepErrno keep;
  int fd = -1;
  const Fault fault = MakeNameless(&kHead, sizeof kHead, sizeof(RegionLayout), &fd);
  return fault != Fault::kNone ? fault : Adopt(fd, true);
}

Fault Region::OpenRefusing() {
  layout_ =
      static_cast<RegionLayout*>(MapPrivate(sizeof(RegionLayout)));  // without a descriptor there are no locks, and without locks no slots
  return layout_ != nullptr ? Fault::kNone : Fault::kUnavailable;
}

Fault Region::Adopt(int fd, bool writable) {
  auto* const layout = static_cast<RegionLayout*>(MapFile(fd, sizeof(RegionLayout), writable));
  const bool locks = HasLocks(fd);
  const auto plausible = [&] {
    if (!HasOurCounts(layout->header) || !HasPlausibleDevices(*layout)) return false;
    const bool look_at_all = !writable || IsDue(layout->header.next_sweep_ns.load(std::memory_order_relaxed), MonotonicNs());
    return !look_at_all || HasPlausibleProcesses(*layout);
  };
  if (layout != nullptr && locks && plausible()) {
    layout_ = layout;
    fd_ = fd;
    file_id_ = FileId(fd);
    self_ = OwnIdentity();
    return Fault::kNone;
  }
  UnmapFile(layout, sizeof(RegionLayout));
  CloseFile(&fd);
  return layout == nullptr || !locks ? Fault::kUnavailable : Fault::kContent;
}

Fault Region::Claim() {
  const KeepErrno keep;
  if (PidOf(self_.key) != static_cast<std::uint64_t>(getpid())) self_ = OwnIdentity();
  if (FileId(fd_) != file_id_) return Fault::kUnavailable;
  SettleWhatExecLeft();
  SweepIfDue(MonotonicNs());
  return TakeFreeSlot() || (Sweep() != 0 && TakeFreeSlot()) ? Fault::kNone : Fault::kFull;
}

void Region::SettleWhatExecLeft() {
  for (unsigned i = 0; i < kMaxProcesses; ++i) {
    const std::uint64_t owner = layout_->owners[i].load(std::memory_order_acquire);
    if (PidOf(owner) == PidOf(self_.key) && IsGone(i, owner)) SettleGone(i, owner);
  }
}

bool Region::TakeFreeSlot() {
  for (unsigned i = 0; i < kMaxProcesses; ++i) {
    if (layout_->owners[i].load(std::memory_order_relaxed) != 0 || !LockByte(fd_, OwnerByte(i))) continue;
    Slot& slot = layout_->slots[i];
    std::uint64_t free = 0;
    // The lock is held and all is written before the key appears: from then on nobody can take the owner for gone.
    if (layout_->owners[i].load(std::memory_order_acquire) == 0) {
      slot.image.store(self_.image, std::memory_order_relaxed);
      slot.proc.store(self_.proc, std::memory_order_relaxed);
      if (layout_->owners[i].compare_exchange_strong(free, self_.key, std::memory_order_acq_rel)) {
        slot_ = i;
        return true;
      }
    }
    UnlockByte(fd_, OwnerByte(i));
  }
  return false;
}

void Region::Release() {
  if (slot_ == kNoSlot) return;
  const KeepErrno keep;
  Settle(*layout_, slot_);
  layout_->owners[slot_].store(0, std::memory_order_release);
  UnlockByte(fd_, OwnerByte(slot_));
  slot_ = kNoSlot;
}

void Region::AfterFork() {
  const KeepErrno keep;
  slot_ = kNoSlot;
  self_ = OwnIdentity();  // now, not with the first claim: whoever only looks how much memory is left must know the living too
}

bool Region::Reserve(unsigned device, MemoryClass memory_class, std::uint64_t bytes, std::uint64_t limit) {
  if (slot_ == kNoSlot) return false;
  if (Take(*layout_, slot_, device, memory_class, bytes, limit)) return true;
  for (int patience = kPatience; patience > 0; --patience) {
    const Swept swept = SweepAll();
    if (swept.freed + swept.others_at_it == 0) break;
    if (Take(*layout_, slot_, device, memory_class, bytes, limit)) return true;
    sched_yield();
  }
  layout_->devices[device].refused.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void Region::Refund(unsigned device, MemoryClass memory_class, std::uint64_t bytes) {
  if (slot_ != kNoSlot) Give(*layout_, slot_, device, memory_class, bytes);
}

std::uint64_t Region::UsedBy(unsigned slot, unsigned device) const { return Held(layout_->slots[slot], device); }

std::uint64_t Region::UsedBy(unsigned slot, unsigned device, MemoryClass memory_class) const {
  return Held(layout_->slots[slot], device, static_cast<unsigned>(memory_class));
}

std::uint64_t Region::UsedFor(unsigned device, MemoryClass memory_class) const {
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < kMaxProcesses; ++i) {
    if (layout_->owners[i].load(std::memory_order_acquire) != 0) sum += UsedBy(i, device, memory_class);
  }
  return sum;
}

unsigned Region::Sweep() { return SweepAll().freed; }

unsigned Region::SweepIfDue(std::uint64_t monotonic_ns) {
  Word& next = layout_->header.next_sweep_ns;
  std::uint64_t due = next.load(std::memory_order_relaxed);
  if (!IsDue(due, monotonic_ns)) return 0;
  return next.compare_exchange_strong(due, monotonic_ns + kSweepPeriodNs, std::memory_order_relaxed) ? Sweep() : 0;
}

Region::Swept Region::SweepAll() {
  const KeepErrno keep;
  Swept swept;
  if (FileId(fd_) != file_id_) return swept;  // our descriptor was closed, and its number may be somebody else's file by now
  for (unsigned i = 0; i < kMaxProcesses; ++i) {
    const std::uint64_t owner = layout_->owners[i].load(std::memory_order_acquire);
    if (owner != 0 && i != slot_ && IsGone(i, owner)) (SettleGone(i, owner) ? swept.freed : swept.others_at_it) += 1;
  }
  layout_->header.sweeps.fetch_add(1, std::memory_order_relaxed);
  layout_->header.settled.fetch_add(swept.freed, std::memory_order_relaxed);
  return swept;
}

bool Region::IsOwnerGone(unsigned slot) const {
  const std::uint64_t owner = layout_->owners[slot].load(std::memory_order_acquire);
  return owner != 0 && IsGone(slot, owner);
}

bool Region::IsGone(unsigned slot_index, std::uint64_t owner) const {
  const Slot& slot = layout_->slots[slot_index];
  const Identity identity = {owner, slot.image.load(std::memory_order_relaxed), slot.proc.load(std::memory_order_relaxed)};
  const bool comparable = identity.proc == self_.proc;
  // Our own number, of which locks tell us nothing: ours from before an exec, another copy of this library in our process, or of a process before us.
  if (PidOf(owner) == PidOf(self_.key) && comparable) return identity.image != self_.image || shm::IsGone(identity);
  if (IsByteLocked(fd_, OwnerByte(slot_index))) return false;
  // No lock: dead, or alive and its program closed our descriptor. Numbers of another namespace tell us nothing; there the lock decides.
  return !comparable || shm::IsGone(identity);
}

/// A lock keeps other processes out, the mark the other threads (and other copies of this library) in our own. A mark left by a dead
/// sweeper means nothing.
bool Region::SettleGone(unsigned slot_index, std::uint64_t owner) {
  Word& settler = layout_->slots[slot_index].settler;
  const std::uint64_t mark = self_.mark();
  if (settler.load(std::memory_order_acquire) == mark || !LockByte(fd_, SettlerByte(slot_index))) return false;
  std::uint64_t before = 0;
  while (!settler.compare_exchange_weak(before, mark, std::memory_order_acq_rel)) {
    if (before != mark) continue;
    sched_yield();  // a thread of ours, at it since a moment ago
    before = 0;
  }
  // Once more: a thread of ours that ended its settlement meanwhile has dropped the lock for all of us.
  bool settled = false;
  if (LockByte(fd_, SettlerByte(slot_index))) {
    std::uint64_t key = owner;
    if (layout_->owners[slot_index].load(std::memory_order_acquire) == owner && IsGone(slot_index, owner)) {
      Settle(*layout_, slot_index);
      settled = layout_->owners[slot_index].compare_exchange_strong(key, 0, std::memory_order_acq_rel);
    }
    UnlockByte(fd_, SettlerByte(slot_index));
  }
  std::uint64_t ours = mark;
  settler.compare_exchange_strong(ours, 0, std::memory_order_acq_rel);
  return settled;
}

}  // namespace partage::shm
