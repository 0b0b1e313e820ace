// SPDX-License-Identifier: Apache-2.0
// The books of a region: how a reservation reaches the device and the process's own count so that death between any two instructions can be
// made good.
//
// Operation number n of lane L (only the thread that holds `busy` works there; two lanes have a thread of their own):
//
//   1 intent = n; intent_where, intent_count = what the lane's count becomes        nothing has happened yet
//   2 {used, last}: compare-and-swap to {used ± bytes, stamp(n, L)}                 THE moment: the bytes are taken
//   3 applied = n                                                                   everybody may overwrite `last` now
//   4 count = intent_count                                                          done
//
// Whoever wants to overwrite `last` (step 2 of any other lane) first does step 3 for the lane it names, when that has not happened. So at
// any later time operation n reached the device exactly if `last` still names it or `applied` has reached n, and step 4 can be repeated
// from the intent. A dead process's lanes are finished that way, then its sums are returned by operations of its own lane 0, written down
// by the same four steps: a sweeper that dies is finished by the next one. Stamps are never used twice, so nothing stale can succeed;
// nobody ever waits for another process. (Recoverable compare-and-swap with helping.)
#pragma once

#include <cstdint>

#include "shm/layout.h"

namespace partage::shm {

/// Reserve: see Region::Reserve. REQUIRES: the slot is this process's.
bool Take(RegionLayout& region, unsigned slot, unsigned device, MemoryClass memory_class, std::uint64_t bytes, std::uint64_t limit);
/// Refund: see Region::Refund. REQUIRES: the slot is this process's.
void Give(RegionLayout& region, unsigned slot, unsigned device, MemoryClass memory_class, std::uint64_t bytes);

/// Finishes what the slot's owner began, returns all it holds and zeroes the slot; owners[slot] stays. May be killed and started again any
/// number of times. REQUIRES: nobody else settles the slot, and its owner's threads are gone.
void Settle(RegionLayout& region, unsigned slot);

/// What one slot holds of a device.
std::uint64_t Held(const Slot& slot, unsigned device, unsigned memory_class);
std::uint64_t Held(const Slot& slot, unsigned device);

/// False for values no correct program writes: a stamp ahead of its lane, an impossible intent, more memory than there can be.
bool HasPlausibleDevices(const RegionLayout& region);
bool HasPlausibleProcesses(const RegionLayout& region);  ///< looks at every slot in use, which are pages apart
inline bool IsPlausible(const RegionLayout& region) { return HasPlausibleDevices(region) && HasPlausibleProcesses(region); }

}  // namespace partage::shm
