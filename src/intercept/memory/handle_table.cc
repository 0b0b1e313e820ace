// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/handle_table.h"

namespace partage::intercept::memory {

bool HandleTable::Created(std::uint64_t handle, unsigned device, std::uint64_t bytes) {
  const Locked locked(lock_);
  Allocation* allocation = allocations_.Place(++last_);
  if (allocation == nullptr) return false;
  *allocation = Allocation{bytes, device, 0, 0};
  if (Refer(handle, last_)) return true;
  Allocation unused{};
  allocations_.Take(last_, &unused);
  return false;
}

void HandleTable::Retained(std::uint64_t handle, std::uint64_t address) {
  const Locked locked(lock_);
  if (const Handle* known = handles_.Find(handle)) {
    Refer(handle, known->allocation);
    return;
  }
  // A new value for memory whose handles are all released. The address may lie anywhere in a mapping: look at all, it is a rare call.
  std::uint64_t start = 0;
  const Mapping* mapping = mappings_.FindIf([&](std::uint64_t from, const Mapping& candidate) {
    start = from;
    return address - from < candidate.bytes;
  });
  if (mapping != nullptr && mapping->allocation != 0) Refer(handle, mapping->allocation);
}

void HandleTable::Imported(std::uint64_t handle) {
  const Locked locked(lock_);
  if (const Handle* known = handles_.Find(handle)) Refer(handle, known->allocation);
}

HandleTable::Release HandleTable::BeginRelease(std::uint64_t handle) {
  const Locked locked(lock_);
  Handle* known = handles_.Find(handle);
  if (known == nullptr) return {};
  const Release release{handle, known->allocation};
  if (--known->references == 0) {
    Handle gone{};
    handles_.Take(handle, &gone);
  }
  return release;
}

Due HandleTable::EndRelease(const Release& release, bool released) {
  if (release.allocation == 0) return {};
  const Locked locked(lock_);
  Allocation* allocation = allocations_.Find(release.allocation);
  if (allocation == nullptr) return {};
  --allocation->references;
  if (!released && Refer(release.handle, release.allocation)) return {};
  return Settle(release.allocation, *allocation);
}

std::uint64_t HandleTable::BeginMap(std::uint64_t handle) {
  const Locked locked(lock_);
  const Handle* known = handles_.Find(handle);
  if (known == nullptr) return 0;
  ++allocations_.Find(known->allocation)->mappings;
  return known->allocation;
}

Due HandleTable::EndMap(std::uint64_t allocation, std::uint64_t address, std::uint64_t bytes, bool mapped) {
  const Locked locked(lock_);
  if (!mapped) return Unpin(allocation);
  Mapping* mapping = mappings_.Place(address);
  if (mapping == nullptr) return {};  // no memory for the table: the memory stays charged, which is safe
  const Due due = Unpin(mapping->allocation);
  *mapping = Mapping{allocation, bytes};
  return due;
}

std::uint64_t HandleTable::size() {
  const Locked locked(lock_);
  return allocations_.size();
}

void HandleTable::ResetInChild() {
  lock_.ResetInChild();
  allocations_.Clear();
  handles_.Clear();
  mappings_.Clear();
}

bool HandleTable::Refer(std::uint64_t handle, std::uint64_t allocation) {
  Handle* place = handles_.Place(handle);
  if (place == nullptr) return false;
  if (place->allocation != allocation) *place = Handle{allocation, 0};
  ++place->references;
  ++allocations_.Find(allocation)->references;
  return true;
}

Due HandleTable::Unpin(std::uint64_t allocation) {
  Allocation* state = allocations_.Find(allocation);
  if (state == nullptr) return {};
  --state->mappings;
  return Settle(allocation, *state);
}

Due HandleTable::Settle(std::uint64_t allocation, const Allocation& state) {
  if (state.references > 0 || state.mappings > 0) return {};
  Allocation gone{};
  allocations_.Take(allocation, &gone);
  return {gone.device, gone.bytes};
}

}  // namespace partage::intercept::memory
