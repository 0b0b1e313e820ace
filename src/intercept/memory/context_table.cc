// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/context_table.h"

namespace partage::intercept::memory {

unsigned ContextTable::Find(std::uint64_t handle) const {
  const unsigned bound = bound_.load(std::memory_order_acquire);
  for (unsigned i = 1; i < bound && handle != 0; ++i) {
    if (contexts_[i].handle.load(std::memory_order_acquire) == handle) return i;
  }
  return 0;
}

unsigned ContextTable::Enter(std::uint64_t handle, unsigned device) {
  const Locked locked(lock_);
  if (handle == 0) return 0;
  if (const unsigned known = Find(handle); known != 0) return known;
  for (unsigned i = 1; i < kCapacity; ++i) {
    Context& context = contexts_[i];
    if (context.taken) continue;
    context.taken = true;
    context.charged = 0;
    context.device.store(device, std::memory_order_relaxed);
    context.handle.store(handle, std::memory_order_release);
    if (i >= bound_.load(std::memory_order_relaxed)) bound_.store(i + 1, std::memory_order_release);
    return i;
  }
  return 0;
}

void ContextTable::Charge(unsigned index, std::uint64_t bytes) {
  const Locked locked(lock_);
  contexts_[index].charged += bytes;
}

void ContextTable::Detach(unsigned index) {
  contexts_[index].handle.store(0, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

void ContextTable::Attach(unsigned index, std::uint64_t handle) { contexts_[index].handle.store(handle, std::memory_order_release); }

std::uint64_t ContextTable::Remove(unsigned index) {
  const Locked locked(lock_);
  Context& context = contexts_[index];
  const std::uint64_t due = context.charged;
  context.charged = 0;
  context.taken = false;
  return due;
}

void ContextTable::ResetInChild() {
  lock_.ResetInChild();
  for (Context& context : contexts_) {
    context.handle.store(0, std::memory_order_relaxed);
    context.taken = false;
    context.charged = 0;
  }
  bound_.store(1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace partage::intercept::memory
