// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "test/support/libcuda/gpu/profile.h"
#include "test/support/libcuda/gpu/shared_gpu.h"

namespace partage::fake_gpu {

/// What processes share: a sparse file, of which only what tenants touch takes room.
struct SharedFile {
  struct Entry {
    pthread_mutex_t lock;
    SharedGpu gpu;
  };
  uint64_t ready;  // magic number once the rest is set up
  Entry entries[kMaxDevices];
};

/// One process as NVML would list it.
struct ProcessUse {
  int32_t pid = 0;  // as the profile's host_pids shows it
  uint64_t bytes = 0;
  unsigned percent = 0;  // of the device's time, in the last sampled period
};

/// This process's view of the GPUs of the profile, shared with other processes through the profile's `shm` file. Devices are numbered as in
/// the profile (NVML's order). What a dead process had is given back before anyone can see it. A forked child starts with nothing. Thread-safe.
class Gpus {
 public:
  static Gpus& Get();
  explicit Gpus(const Profile& profile);
  Gpus(const Gpus&) = delete;
  Gpus& operator=(const Gpus&) = delete;

  /// Takes device memory for this process; false when the device has no room.
  bool Reserve(int device, uint64_t bytes);
  void Release(int device, uint64_t bytes);
  uint64_t UsedBytes(int device);
  uint64_t OwnBytes(int device);
  /// As the first process's profile has it.
  uint64_t Capacity(int device) const { return file_->entries[device].gpu.capacity; }

  /// Queues work of `ns`; blocks while too much earlier work is unfinished (the profile's `queue`). Returns its mark.
  int64_t Submit(int device, int64_t ns);
  /// The mark of the last work queued.
  int64_t LastMark(int device);
  bool Done(int device, int64_t mark);
  void Wait(int device, int64_t mark);
  /// When it was done, in CLOCK_MONOTONIC ns. REQUIRES: Done(device, mark).
  int64_t FinishedAt(int device, int64_t mark);

  /// Percent of the last sampled period that the device was busy; that period's end (CLOCK_MONOTONIC ns) goes to `sampled_at`.
  unsigned Utilization(int device, int64_t& sampled_at);
  /// Every process on the device, dead ones excepted; none with `host_pids hidden`.
  std::vector<ProcessUse> Processes(int device);

  /// Forgets the parent's places on the devices.
  void AfterFork();

  static int64_t Now();

 private:
  class Locked;

  struct Place {
    int tenant = -1;
    std::deque<int64_t> unfinished;  // marks of work queued and not yet seen done
  };

  void Share(const std::string& path);
  void SetUp();
  Tenant& OwnTenant(int device, SharedGpu& gpu);
  bool HoldsByte(int device, int tenant) const;
  void Sweep(int device, SharedGpu& gpu);
  bool TrySubmit(int device, int64_t ns, int64_t& mark);
  int64_t Remaining(int device, int64_t mark);
  unsigned Percent(const BusyHistory& busy, int64_t& sampled_at) const;

  const Profile& profile_;
  SharedFile* file_ = nullptr;
  int fd_ = -1;
  Place places_[kMaxDevices];  // each guarded by its device's lock
};

}  // namespace partage::fake_gpu
