// SPDX-License-Identifier: Apache-2.0
// Who a process is, and whether it is still there.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "shm/layout.h"

namespace partage::shm {

/// What tells this process from every other, past and present. Plain value.
struct Identity {
  /// KeyOf(pid, now): any moment of a process's life tells it from the others of its number, which end before or start later.
  std::uint64_t key = 0;
  /// Address of the random bytes that the kernel gave this program: another one after each exec.
  std::uint64_t image = 0;
  /// Names the mount at /proc (its device number and when it was made), by which processes know that they mean the same by a pid and by a time since boot.
  /// 0: there is none, or it is of another PID namespace.
  std::uint64_t proc = 0;

  /// One word, never 0, that all copies of this library in one process have in common, whenever each asked, and no other process has.
  std::uint64_t mark() const { return (PidOf(key) << kTimeBits ^ image << 7 ^ proc << 13) | 1; }
};

/// Asks the kernel; errno unchanged. Three cheap system calls: with the start time from /proc/self/stat and the number of the PID namespace it was seen to
/// take five times as long.
Identity OwnIdentity();

/// True when the process certainly no longer runs the program that had this identity: no such pid, one that started later, a zombie without
/// threads (its GPU memory is freed by then), another image. False when that cannot be told. REQUIRES: `other` had the same /proc.
bool IsGone(const Identity& other);

/// State of a process, from the text of /proc/PID/stat.
struct ProcessState {
  char state = '?';
  std::uint64_t threads = 0;
  std::uint64_t start = 0;
};
/// False when the text is not such a line. The command name may hold anything, blanks and parentheses included.
bool ParseStat(const char* text, std::size_t length, ProcessState* state);

/// Whether the file's file system knows record locks.
bool HasLocks(int fd);
/// Non-blocking exclusive record lock on one byte of a file. False when another process holds it or the file system has no locks.
bool LockByte(int fd, std::size_t offset);
void UnlockByte(int fd, std::size_t offset);
/// True when another process holds the lock; never for one's own.
bool IsByteLocked(int fd, std::size_t offset);

/// The program around us must not see what our system calls left in errno.
class KeepErrno {
 public:
  KeepErrno() : saved_(errno) {}
  ~KeepErrno() { errno = saved_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int saved_;
};

}  // namespace partage::shm
