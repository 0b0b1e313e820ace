// SPDX-License-Identifier: Apache-2.0
#include "shm/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/clock.h"

namespace partage::shm {
namespace {

Fault FaultOfErrno() {
  switch (errno) {
    case ENOENT:
    case ENOTDIR: return Fault::kMissing;
    case EACCES:
    case EPERM:
    case EROFS: return Fault::kPermission;
    case EISDIR:
    case ELOOP:
    case ENXIO: return Fault::kNotAFile;
    default: return Fault::kUnavailable;
  }
}

/// Programs close the small numbers they know, and select() knows no large ones.
int OutOfTheWay(int fd) {
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, 200);
  if (moved < 0) return fd;
  close(fd);
  return moved;
}

Fault Check(int fd, const Preamble& expected) {
  struct stat status;
  if (fstat(fd, &status) != 0) return FaultOfErrno();
  if (!S_ISREG(status.st_mode)) return Fault::kNotAFile;
  Preamble found;
  const ssize_t length = pread(fd, &found, sizeof found, 0);
  if (length < 0) return FaultOfErrno();
  if (length != sizeof found) return Fault::kSize;
  const Fault fault = FaultIn(found, expected);
  if (fault != Fault::kNone) return fault;
  return static_cast<std::uint64_t>(status.st_size) == expected.size ? Fault::kNone : Fault::kSize;
}

bool Put(int fd, const void* head, std::size_t head_size) { return pwrite(fd, head, head_size, 0) == static_cast<ssize_t>(head_size); }

/// Another name in the same folder that nobody else uses at this time, not even a process of the same number in another PID namespace.
bool TemporaryName(const char* path, char* name, std::size_t size) {
  const int length = snprintf(name, size, "%s.%d-%lx.new", path, static_cast<int>(getpid()), static_cast<unsigned long>(MonotonicNs()));
  return length > 0 && static_cast<std::size_t>(length) < size;
}

Fault Publish(const char* temporary, const char* path, bool replace) {
  if (replace) return rename(temporary, path) == 0 ? Fault::kNone : FaultOfErrno();
  const bool ours = link(temporary, path) == 0;
  const Fault fault = ours || errno == EEXIST ? Fault::kNone : FaultOfErrno();
  unlink(temporary);
  return fault;
}

}  // namespace

Fault FaultIn(const Preamble& found, const Preamble& expected) {
  if (found.magic != expected.magic) return found.magic == __builtin_bswap64(expected.magic) ? Fault::kByteOrder : Fault::kMagic;
  if (found.byte_order != expected.byte_order) return Fault::kByteOrder;
  if (found.abi != expected.abi) return Fault::kAbi;
  if (found.layout_hash != expected.layout_hash) return Fault::kLayout;
  return found.size == expected.size ? Fault::kNone : Fault::kSize;
}

Fault OpenFile(const char* path, bool writable, const Preamble& expected, int* fd) {
  // O_NONBLOCK: a pipe by that name must not hold us.
  int opened = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (opened < 0) return FaultOfErrno();
  const Fault fault = Check(opened, expected);
  if (fault != Fault::kNone) {
    CloseFile(&opened);
    return fault;
  }
  *fd = OutOfTheWay(opened);
  return Fault::kNone;
}

Fault TakeFile(bool writable, const Preamble& expected, int* fd) {
  const int flags = fcntl(*fd, F_GETFL);
  const bool allowed =
      flags >= 0 && (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_WRONLY && (!writable || (flags & O_ACCMODE) == O_RDWR);
  const Fault fault = allowed ? Check(*fd, expected) : Fault::kPermission;
  if (fault == Fault::kNone) {
    *fd = OutOfTheWay(*fd);
  } else {
    CloseFile(fd);
  }
  return fault;
}

Fault MakeFile(const char* path, const void* head, std::size_t head_size, std::size_t size, bool replace) {
  char temporary[4096];
  if (!TemporaryName(path, temporary, sizeof temporary)) return Fault::kUnavailable;
  int fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return FaultOfErrno();
  // Not by umask, which is the program's and not ours to change.
  const bool allowed = fchmod(fd, replace ? 0644 : 0666) == 0;
  // Not ftruncate: on a full disk the first write to a hole would kill the program around us.
  const bool filled = allowed && posix_fallocate(fd, 0, static_cast<off_t>(size)) == 0 && Put(fd, head, head_size);
  CloseFile(&fd);
  const Fault fault = filled ? Publish(temporary, path, replace) : Fault::kUnavailable;
  if (fault != Fault::kNone) unlink(temporary);
  return fault;
}

Fault MakeNameless(const void* head, std::size_t head_size, std::size_t size, int* fd) {
  int made = static_cast<int>(syscall(SYS_memfd_create, "partage-usage", 1u /* MFD_CLOEXEC */));
  if (made < 0) made = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (made < 0) made = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (made < 0) return Fault::kUnavailable;
  if (ftruncate(made, static_cast<off_t>(size)) != 0 || !Put(made, head, head_size)) {
    CloseFile(&made);
    return Fault::kUnavailable;
  }
  *fd = OutOfTheWay(made);
  return Fault::kNone;
}

Fault MakeReadOnly(const void* bytes, std::size_t size, void** mapped, int* fd) {
  constexpr unsigned kCloseOnExec = 1, kAllowSealing = 2;  // MFD_…, which glibc 2.17 does not know; nor F_ADD_SEALS and its seals
  constexpr int kAddSeals = 1033;                          // F_ADD_SEALS
  constexpr int kSeals = 0x01 /* SEAL */ | 0x02 /* SHRINK */ | 0x04 /* GROW */ | 0x10 /* FUTURE_WRITE */;
  int made = static_cast<int>(syscall(SYS_memfd_create, "partage-limits", kCloseOnExec | kAllowSealing));
  void* const place = made < 0 || ftruncate(made, static_cast<off_t>(size)) != 0 ? nullptr : MapFile(made, size, true);
  if (place != nullptr && fcntl(made, kAddSeals, kSeals) == 0) {
    memcpy(place, bytes, size);
    *mapped = place;
    *fd = OutOfTheWay(made);
    return Fault::kNone;
  }
  UnmapFile(place, size);
  CloseFile(&made);
  return Fault::kUnavailable;
}

MakersTurn::MakersTurn(const char* path) {
  constexpr int kLooks = 100;
  constexpr struct timespec kBetweenLooks = {0, 1'000'000};
  const char* const slash = strrchr(path, '/');
  char folder[4096] = ".";
  const std::size_t length = slash == nullptr ? 0 : static_cast<std::size_t>(slash - path) + 1;
  if (length >= sizeof folder) return;
  if (length > 0) memcpy(folder, path, length), folder[length] = '\0';
  fd_ = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int looks = 0; fd_ >= 0 && looks < kLooks && flock(fd_, LOCK_EX | LOCK_NB) != 0 && access(path, F_OK) != 0; ++looks)
    nanosleep(&kBetweenLooks, nullptr);
}

MakersTurn::~MakersTurn() { CloseFile(&fd_); }

void* MapFile(int fd, std::size_t size, bool writable) {
  void* const mapped = mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

void* MapPrivate(std::size_t size) {
  void* const mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

void UnmapFile(void* mapped, std::size_t size) {
  if (mapped != nullptr) munmap(mapped, size);
}

std::uint64_t FileId(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? (status.st_ino ^ status.st_dev << 40) | 1 : 0;
}

void CloseFile(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

}  // namespace partage::shm
