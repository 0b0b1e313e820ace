// SPDX-License-Identifier: Apache-2.0
// A mutex that clang's -Wthread-safety understands (g++ ignores the attributes).
#pragma once

#include <condition_variable>
#include <mutex>

#ifdef __clang__
#define PARTAGE_TSA(x) __attribute__((x))
#else
#define PARTAGE_TSA(x)
#endif

#define PARTAGE_GUARDED_BY(mutex) PARTAGE_TSA(guarded_by(mutex))
#define PARTAGE_REQUIRES(mutex) PARTAGE_TSA(requires_capability(mutex))
#define PARTAGE_EXCLUDES(mutex) PARTAGE_TSA(locks_excluded(mutex))

namespace partage {

class PARTAGE_TSA(capability("mutex")) Mutex {
 public:
  void lock() PARTAGE_TSA(acquire_capability()) { mutex_.lock(); }
  void unlock() PARTAGE_TSA(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

/// Holds a Mutex for a scope.
class PARTAGE_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) PARTAGE_TSA(acquire_capability(mutex)) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() PARTAGE_TSA(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

/// Condition variable for Mutex. Wait with REQUIRES(mutex) held.
using CondVar = std::condition_variable_any;

}  // namespace partage
