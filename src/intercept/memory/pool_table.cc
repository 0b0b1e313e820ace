// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/pool_table.h"

namespace partage::intercept::memory {

unsigned PoolTable::Find(std::uint64_t handle) const {
  const unsigned bound = this->bound();
  for (unsigned i = 1; i < bound && handle != 0; ++i) {
    if (pools_[i].handle.load(std::memory_order_acquire) == handle) return i;
  }
  return 0;
}

unsigned PoolTable::Open(std::uint64_t handle, unsigned device) {
  const Locked locked(lock_);
  if (handle == 0) return 0;
  if (const unsigned known = Find(handle); known != 0) return known;
  for (unsigned i = 1; i < kCapacity; ++i) {
    Pool& pool = pools_[i];
    const Locked pool_locked(pool.lock);
    if (pool.taken) continue;
    pool.taken = true;
    pool.device = device;
    pool.handle.store(handle, std::memory_order_release);
    if (i >= bound()) bound_.store(i + 1, std::memory_order_release);
    return i;
  }
  return 0;
}

std::uint64_t PoolTable::Close(unsigned index) {
  Pool& pool = pools_[index];
  const Locked locked(pool.lock);
  pool.handle.store(0, std::memory_order_release);
  pool.closed = true;
  return Shrink(pool);
}

void PoolTable::Used(unsigned index, std::uint64_t bytes) {
  Pool& pool = pools_[index];
  const Locked locked(pool.lock);
  pool.in_use += bytes;
}

std::uint64_t PoolTable::Freed(unsigned index, std::uint64_t bytes) {
  Pool& pool = pools_[index];
  const Locked locked(pool.lock);
  pool.in_use -= bytes < pool.in_use ? bytes : pool.in_use;
  if (pool.closed) return Shrink(pool);
  pool.stale.store(true, std::memory_order_relaxed);
  return 0;
}

std::uint64_t PoolTable::Shrink(Pool& pool) {
  if (!pool.taken) return 0;
  const std::uint64_t keep = pool.in_use < pool.account.charged() ? pool.in_use : pool.account.charged();
  const std::uint64_t due = pool.account.Settle(0, keep).refund;
  if (pool.in_use == 0 && pool.account.held() == 0) {
    pool.taken = pool.closed = false;
    pool.stale.store(false, std::memory_order_relaxed);
    pool.account = {};
  }
  return due;
}

void PoolTable::ResetInChild() {
  lock_.ResetInChild();
  for (unsigned i = 1; i < bound(); ++i) {
    Pool& pool = pools_[i];
    pool.lock.ResetInChild();
    pool.handle.store(0, std::memory_order_relaxed);
    pool.stale.store(false, std::memory_order_relaxed);
    pool.taken = pool.closed = false;
    pool.account = {};
    pool.in_use = 0;
  }
  bound_.store(1, std::memory_order_relaxed);
}

}  // namespace partage::intercept::memory
