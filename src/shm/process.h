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
  std::uint64_t key = 0;     ///< KeyOf(pid, start time); the start time is 0 where /proc is not mounted
  std::uint64_t image = 0;   ///< address of the random bytes the kernel gave this program: another one after each exec
  std::uint64_t pid_ns = 0;  ///< inode of the PID namespace; 0 where /proc is not mounted

  /// One word for all three, never 0.
  std::uint64_t mark() const { return (key ^ image << 7 ^ pid_ns << 13) | 1; }
};

/// Asks the kernel; a few system calls, errno unchanged.
Identity OwnIdentity();

/// True when the process certainly no longer runs the program that had this identity: no such pid, another start time, a zombie without
/// threads (its GPU memory is freed by then), another image. False when that cannot be told. REQUIRES: `other` is of this process's own PID
/// namespace.
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
