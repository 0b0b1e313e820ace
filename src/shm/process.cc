// SPDX-License-Identifier: Apache-2.0
#include "shm/process.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/clock.h"

namespace partage::shm {
namespace {

/// The unit of start times in /proc: 1/USER_HZ, which is 100 wherever there are GPUs.
constexpr std::uint64_t kTickNs = 10'000'000;

// syscall(), because the libc wrappers are cancellation points and the thread is not ours to lose in the middle of a settlement.
std::size_t ReadFile(const char* path, void* buffer, std::size_t size) {
  const long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const long length = syscall(SYS_read, fd, buffer, size);
  syscall(SYS_close, fd);
  return length < 0 ? 0 : static_cast<std::size_t>(length);
}

/// "/proc/PID/name" without printf.
class ProcPath {
 public:
  ProcPath(std::uint64_t pid, const char* name) {
    char digits[20];
    unsigned count = 0;
    do digits[count++] = static_cast<char>('0' + pid % 10);
    while ((pid /= 10) != 0);
    Append("/proc/");
    while (count > 0) text_[length_++] = digits[--count];
    Append(name);
    text_[length_] = '\0';
  }
  const char* c_str() const { return text_; }

 private:
  void Append(const char* part) {
    while (*part != '\0') text_[length_++] = *part++;
  }
  char text_[48];
  unsigned length_ = 0;
};

const char* SkipBlanks(const char* at, const char* end) {
  while (at < end && *at == ' ') ++at;
  return at;
}

const char* SkipField(const char* at, const char* end) {
  while (at < end && *at != ' ') ++at;
  return SkipBlanks(at, end);
}

std::uint64_t Number(const char* at, const char* end) {
  std::uint64_t number = 0;
  for (; at < end && *at >= '0' && *at <= '9'; ++at) number = number * 10 + static_cast<std::uint64_t>(*at - '0');
  return number;
}

bool ReadState(const char* path, ProcessState* state) {
  char text[1024];
  return ParseStat(text, ReadFile(path, text, sizeof text), state);
}

/// Another process's AT_RANDOM; 0 when we may not look.
std::uint64_t ImageOf(std::uint64_t pid) {
  std::uint64_t pairs[128];
  const std::size_t words = ReadFile(ProcPath(pid, "/auxv").c_str(), pairs, sizeof pairs) / sizeof pairs[0];
  for (std::size_t i = 0; i + 1 < words; i += 2) {
    if (pairs[i] == AT_RANDOM) return pairs[i + 1];
  }
  return 0;
}

/// False in a process that entered a PID namespace without mounting its /proc: the numbers there are not the ones we know.
bool ProcIsOfOurNamespace() {
  char link[24];
  const long length = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self", link, sizeof link);
  return length > 0 && Number(link, link + length) == static_cast<std::uint64_t>(getpid());
}

/// Identity::proc. The device number alone would come again after the next boot, or with the next container.
std::uint64_t OwnProc() {
  struct stat root = {};
  if (stat("/proc", &root) != 0 || !ProcIsOfOurNamespace()) return 0;
  const auto mounted_ns =
      static_cast<std::uint64_t>(root.st_ctim.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(root.st_ctim.tv_nsec);
  return (mounted_ns ^ root.st_dev << 40) | 1;
}

bool Fcntl(int fd, int command, std::size_t offset, struct flock* lock) {
  lock->l_whence = SEEK_SET;
  lock->l_start = static_cast<off_t>(offset);
  lock->l_len = 1;
  return fcntl(fd, command, lock) == 0;
}

}  // namespace

Identity OwnIdentity() {
  const KeepErrno keep;
  return {KeyOf(static_cast<std::uint64_t>(getpid()), ClockNs(CLOCK_BOOTTIME) / kTickNs), getauxval(AT_RANDOM), OwnProc()};
}

bool IsGone(const Identity& other) {
  const KeepErrno keep;
  const std::uint64_t pid = PidOf(other.key);
  if (kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return true;
  ProcessState state;
  if (!ProcIsOfOurNamespace() || !ReadState(ProcPath(pid, "/stat").c_str(), &state)) return false;
  // Both times come of one clock, but a tick of grace costs nothing: numbers do not come around as fast.
  const std::uint64_t lived = TicksOf(other.key);
  if (lived != 0 && state.start > lived + 1) return true;
  if (state.state == 'X' || (state.state == 'Z' && state.threads <= 1)) return true;
  const std::uint64_t image = other.image == 0 ? 0 : ImageOf(pid);
  return image != 0 && image != other.image;
}

bool ParseStat(const char* text, std::size_t length, ProcessState* state) {
  const char* const end = text + length;
  const char* at = end;
  while (at > text && at[-1] != ')') --at;
  if (at == text) return false;
  at = SkipBlanks(at, end);
  if (at == end) return false;
  const char letter = *at;
  for (int field = 3; field < 20; ++field) at = SkipField(at, end);
  const std::uint64_t threads = Number(at, end);
  at = SkipField(SkipField(at, end), end);
  if (at == end) return false;
  *state = {letter, threads, Number(at, end)};
  return true;
}

bool HasLocks(int fd) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  return Fcntl(fd, F_GETLK, 0, &lock);
}

bool LockByte(int fd, std::size_t offset) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  return Fcntl(fd, F_SETLK, offset, &lock);
}

void UnlockByte(int fd, std::size_t offset) {
  struct flock lock = {};
  lock.l_type = F_UNLCK;
  Fcntl(fd, F_SETLK, offset, &lock);
}

bool IsByteLocked(int fd, std::size_t offset) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  return Fcntl(fd, F_GETLK, offset, &lock) && lock.l_type != F_UNLCK;
}

}  // namespace partage::shm
