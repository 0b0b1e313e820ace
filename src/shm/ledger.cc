// SPDX-License-Identifier: Apache-2.0
#include "shm/ledger.h"

#include <sched.h>

#include "shm/wide_cas.h"

namespace partage::shm {
namespace {

constexpr unsigned kLaneBits = 2;
constexpr unsigned kSlotBits = 9;
constexpr unsigned kPlaceBits = kLaneBits + kSlotBits;
static_assert(1u << kLaneBits == kLanes && 1u << kSlotBits == kMaxProcesses);

constexpr std::uint64_t kColumns = 16;
constexpr std::uint64_t kEveryClass = kColumns - 1;
static_assert(kMemoryClasses <= kEveryClass);
constexpr std::uint64_t kMostBytes = 1ull << 60;  // no device has an exbibyte

struct Operation {
  enum Kind { kTake, kGive, kSettle } kind;
  unsigned device;
  std::uint64_t column;
  std::uint64_t bytes;
  std::uint64_t limit;
};

constexpr std::uint64_t StampOf(std::uint64_t number, unsigned slot, unsigned lane) {
  return number << kPlaceBits | slot << kLaneBits | lane;
}
constexpr std::uint64_t NumberOf(std::uint64_t stamp) { return stamp >> kPlaceBits; }

template <class Layout>
auto& LaneOf(Layout& region, std::uint64_t stamp) {
  return region.slots[stamp >> kLaneBits & (kMaxProcesses - 1)].lanes[stamp & (kLanes - 1)];
}

/// Step 3, for any lane: that its operation is on the device is a fact once the stamp was seen there.
void NoteApplied(RegionLayout& region, std::uint64_t stamp) {
  Word& applied = LaneOf(region, stamp).applied;
  std::uint64_t before = applied.load(std::memory_order_acquire);
  if (before < NumberOf(stamp)) applied.compare_exchange_strong(before, NumberOf(stamp), std::memory_order_acq_rel);
}

bool Next(const Operation& operation, std::uint64_t used, std::uint64_t* next) {
  switch (operation.kind) {
    case Operation::kTake:
      *next = used + operation.bytes;
      return operation.bytes <= operation.limit && used <= operation.limit - operation.bytes;
    case Operation::kGive: *next = used - operation.bytes; return operation.bytes <= used;
    case Operation::kSettle: *next = used > operation.bytes ? used - operation.bytes : 0; return true;
  }
  return false;
}

/// Step 2. False when the operation does not fit what the device holds at that instant.
bool Reach(RegionLayout& region, const Operation& operation, std::uint64_t stamp) {
  DeviceUsage& device = region.devices[operation.device];
  for (;;) {
    const std::uint64_t last = device.last.load(std::memory_order_acquire);
    const std::uint64_t used = device.used.load(std::memory_order_acquire);  // torn from `last`? then the swap fails
    std::uint64_t next;
    if (!Next(operation, used, &next)) return false;
    NoteApplied(region, last);
    if (CompareAndSwap(device, {used, last}, {next, stamp})) return true;
  }
}

/// Step 4, from the intent; may be repeated.
void Record(Slot& slot, Lane& lane) {
  const std::uint64_t where = lane.intent_where.load(std::memory_order_relaxed);
  const std::uint64_t device = where / kColumns % kMaxDevices;
  const std::uint64_t column = where % kColumns;
  if (column < kMemoryClasses)
    lane.counts[device][column].store(lane.intent_count.load(std::memory_order_relaxed), std::memory_order_release);
  if (column != kEveryClass) return;
  for (Lane& each : slot.lanes) {
    for (Word& count : each.counts[device]) count.store(0, std::memory_order_release);
  }
}

/// Steps 1 to 4 in a lane that is the caller's alone. The releases keep the compiler and the processor from changing their order.
bool Operate(RegionLayout& region, unsigned slot, unsigned lane_index, const Operation& operation) {
  Lane& lane = region.slots[slot].lanes[lane_index];
  const std::uint64_t number = lane.applied.load(std::memory_order_relaxed) + 1;
  std::uint64_t count = 0;
  if (operation.kind != Operation::kSettle) {
    count = lane.counts[operation.device][operation.column].load(std::memory_order_relaxed);
    count += operation.kind == Operation::kTake ? operation.bytes : -operation.bytes;
  }
  lane.intent.store(number, std::memory_order_release);
  lane.intent_where.store(operation.device * kColumns + operation.column, std::memory_order_release);
  lane.intent_count.store(count, std::memory_order_release);
  if (!Reach(region, operation, StampOf(number, slot, lane_index))) return false;
  lane.applied.store(number, std::memory_order_release);
  Record(region.slots[slot], lane);
  return true;
}

/// The first lanes belong to one thread each, for good, so that the threads that allocate most need no atomic exchange to get in. A thread is known by its
/// control block; whoever gets the block of one that has ended inherits its lane, and whatever else ends leaves a lane unused.
constexpr unsigned kOwnLanes = 2;
constinit std::atomic<std::uintptr_t> g_lane_owner[kOwnLanes];

/// kOwnLanes: the thread has none.
unsigned OwnLane(std::uintptr_t thread) {
  for (unsigned lane = 0; lane < kOwnLanes; ++lane) {
    std::uintptr_t owner = g_lane_owner[lane].load(std::memory_order_relaxed);
    if (owner == thread) return lane;
    if (owner == 0 && g_lane_owner[lane].compare_exchange_strong(owner, thread, std::memory_order_relaxed)) return lane;
  }
  return kOwnLanes;
}

bool OperateInSomeLane(RegionLayout& region, unsigned slot, const Operation& operation) {
  const auto thread = reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
  if (const unsigned lane = OwnLane(thread); lane < kOwnLanes) {
    Word& busy = region.slots[slot].lanes[lane].busy;
    if (busy.load(std::memory_order_relaxed) == 0) {  // 1: the caller is a signal's handler
      busy.store(1, std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      const bool done = Operate(region, slot, lane, operation);
      busy.store(0, std::memory_order_release);
      return done;
    }
  }
  // The same lane for the same thread, so that its lines stay in that processor's cache: threads' control blocks are pages apart.
  constexpr unsigned kShared = kLanes - kOwnLanes;
  static_assert(kShared == 2);
  for (unsigned lane = thread * 0x9E37'79B9'7F4A'7C15 >> 63, tried = 1;; lane = (lane + 1) % kShared, ++tried) {
    Word& busy = region.slots[slot].lanes[kOwnLanes + lane].busy;
    if (busy.exchange(1, std::memory_order_acquire) == 0) {
      const bool done = Operate(region, slot, kOwnLanes + lane, operation);
      busy.store(0, std::memory_order_release);
      return done;
    }
    if (tried % kShared == 0) sched_yield();  // only our own threads can be in there
  }
}

/// Whether the intent of a dead thread's lane reached the device; notes it when it did.
bool HasReached(RegionLayout& region, const Lane& lane, std::uint64_t stamp) {
  if (lane.applied.load(std::memory_order_acquire) >= NumberOf(stamp)) return true;
  const std::uint64_t device = lane.intent_where.load(std::memory_order_relaxed) / kColumns % kMaxDevices;
  if (region.devices[device].last.load(std::memory_order_acquire) == stamp) NoteApplied(region, stamp);
  return lane.applied.load(std::memory_order_acquire) >= NumberOf(stamp);  // again: who overwrote `last` noted it before
}

void Finish(RegionLayout& region, unsigned slot, unsigned lane_index) {
  Lane& lane = region.slots[slot].lanes[lane_index];
  const std::uint64_t intent = lane.intent.load(std::memory_order_acquire);
  if (intent != 0 && HasReached(region, lane, StampOf(intent, slot, lane_index))) Record(region.slots[slot], lane);
  lane.intent.store(0, std::memory_order_release);
  lane.busy.store(0, std::memory_order_release);
}

bool HasCounts(const Slot& slot, unsigned device) {
  for (const Lane& lane : slot.lanes) {
    for (const Word& count : lane.counts[device]) {
      if (count.load(std::memory_order_acquire) != 0) return true;
    }
  }
  return false;
}

bool IsPlausible(const Slot& slot) {
  for (const Lane& lane : slot.lanes) {
    const std::uint64_t where = lane.intent_where.load(std::memory_order_relaxed);
    const std::uint64_t column = where % kColumns;
    if (where >= kMaxDevices * kColumns || (column >= kMemoryClasses && column != kEveryClass)) return false;
    if (lane.busy.load(std::memory_order_relaxed) > 1) return false;
    if (lane.intent.load(std::memory_order_relaxed) > lane.applied.load(std::memory_order_acquire) + 1) return false;
  }
  return true;
}

}  // namespace

bool Take(RegionLayout& region, unsigned slot, unsigned device, MemoryClass memory_class, std::uint64_t bytes, std::uint64_t limit) {
  return OperateInSomeLane(region, slot, {Operation::kTake, device, static_cast<std::uint64_t>(memory_class), bytes, limit});
}

void Give(RegionLayout& region, unsigned slot, unsigned device, MemoryClass memory_class, std::uint64_t bytes) {
  OperateInSomeLane(region, slot, {Operation::kGive, device, static_cast<std::uint64_t>(memory_class), bytes, 0});
}

void Settle(RegionLayout& region, unsigned slot_index) {
  Slot& slot = region.slots[slot_index];
  for (unsigned lane = 0; lane < kLanes; ++lane) Finish(region, slot_index, lane);
  for (unsigned device = 0; device < kMaxDevices; ++device) {
    // The sum, not lane by lane: one lane may hold what another has given back already.
    if (HasCounts(slot, device)) Operate(region, slot_index, 0, {Operation::kSettle, device, kEveryClass, Held(slot, device), 0});
  }
  slot.lanes[0].intent.store(0, std::memory_order_release);
  for (Word& ns : slot.gpu_ns) ns.store(0, std::memory_order_relaxed);
  slot.image.store(0, std::memory_order_relaxed);
  slot.proc.store(0, std::memory_order_relaxed);
  slot.host_pid.store(0, std::memory_order_relaxed);
}

std::uint64_t Held(const Slot& slot, unsigned device, unsigned memory_class) {
  std::uint64_t sum = 0;
  for (const Lane& lane : slot.lanes) sum += lane.counts[device][memory_class].load(std::memory_order_acquire);
  return sum;
}

std::uint64_t Held(const Slot& slot, unsigned device) {
  std::uint64_t sum = 0;
  for (unsigned memory_class = 0; memory_class < kMemoryClasses; ++memory_class) sum += Held(slot, device, memory_class);
  return sum;
}

bool HasPlausibleDevices(const RegionLayout& region) {
  for (const DeviceUsage& device : region.devices) {
    const std::uint64_t last = device.last.load(std::memory_order_acquire);
    if (device.used.load(std::memory_order_relaxed) >= kMostBytes) return false;
    const std::uint64_t cost = device.context_cost.load(std::memory_order_relaxed);
    if ((cost & 1) != 0 && cost >= kMostBytes) return false;
    if (NumberOf(last) > LaneOf(region, last).applied.load(std::memory_order_acquire) + 1) return false;
  }
  return true;
}

bool HasPlausibleProcesses(const RegionLayout& region) {
  for (unsigned i = 0; i < kMaxProcesses; ++i) {
    const std::uint64_t owner = region.owners[i].load(std::memory_order_acquire);
    if (owner != 0 && (PidOf(owner) == 0 || !IsPlausible(region.slots[i]))) return false;
  }
  return true;
}

}  // namespace partage::shm
