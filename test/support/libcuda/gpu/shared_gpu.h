// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <array>
#include <cstdint>

namespace partage::fake_gpu {

inline constexpr int kMaxDevices = 16;
inline constexpr int kMaxTenants = 512;
inline constexpr int kSegments = 1024;            // remembered stretches of running, per tenant
inline constexpr int kBusyBuckets = 256;          // remembered history of use
inline constexpr int64_t kBucketNs = 10'000'000;  // of 10 ms each

/// A stretch in which the GPU ran one tenant: from `wall` on, for `length` ns, beginning when it had run the tenant for `served` ns in all.
struct Segment {
  int64_t wall = 0;
  int64_t served = 0;
  int64_t length = 0;
};

/// Busy nanoseconds per 10 ms of wall time: a ring, where a bucket of another time counts as empty.
class BusyHistory {
 public:
  void Clear() { buckets_.fill({}); }
  void Add(int64_t from, int64_t length);
  /// Nanoseconds of [from, to) that were busy; exact when both lie on bucket borders.
  int64_t Between(int64_t from, int64_t to) const;

 private:
  struct Bucket {
    int64_t number = 0;
    int64_t ns = 0;
  };
  std::array<Bucket, kBusyBuckets> buckets_;
};

/// A process on a device: its memory and the queue of its work, which the device runs in order.
struct Tenant {
  int32_t pid = 0;  // 0: free
  uint64_t used = 0;
  int64_t submitted = 0;  // ns of work ever queued …
  int64_t served = 0;     // … and done
  uint64_t segment_count = 0;
  std::array<Segment, kSegments> segments;
  BusyHistory busy;

  int64_t backlog() const { return submitted - served; }
  /// Wall time at which `served` reached `mark`; the oldest known moment when that is forgotten.
  int64_t FinishedAt(int64_t mark) const;
};

/// A GPU that tenants share: physical memory, and time in turns of one slice while more than one has work (fewer, as one tenant at a time has
/// the whole device: kernels of different processes do not overlap). Deterministic: everything follows from the times that callers pass.
/// Lives in shared memory, so no pointers. Needs outside locking.
class SharedGpu {
 public:
  uint64_t capacity = 0;
  uint64_t used = 0;
  int64_t slice = 0;
  int64_t swept_at = 0;  // when dead tenants were last looked for
  int places = 0;        // tenants from here on were never taken: reading them would only make the file grow
  std::array<Tenant, kMaxTenants> tenants;
  BusyHistory busy;

  /// A free tenant, now taken by `pid`; -1 when none is left.
  int Join(int32_t pid);
  /// Gives back all that the tenant had; work it had queued is dropped.
  void Leave(int tenant);

  /// After a process was killed that held the lock: what is used is what the tenants have.
  void Recount();

  bool Reserve(int tenant, uint64_t bytes);
  void Release(int tenant, uint64_t bytes);

  /// Queues `ns` of work and returns the mark that `served` reaches when it is done. REQUIRES: Advance(now) just before.
  int64_t Submit(int tenant, int64_t ns);
  /// Runs the device up to `now`.
  void Advance(int64_t now);

 private:
  void Serve(int tenant, int64_t length);
  void SetActive(int tenant, bool active);
  int NextActive(int after) const;

  int64_t time_ = 0;
  int64_t slice_left_ = 0;
  int current_ = 0;
  std::array<uint64_t, kMaxTenants / 64> active_{};  // a bit for each tenant with work
};

}  // namespace partage::fake_gpu
