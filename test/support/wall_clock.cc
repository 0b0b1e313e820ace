// SPDX-License-Identifier: Apache-2.0
// LD_PRELOAD: a wall clock that tests set. What the process takes for the time of day is the machine's plus as many seconds as the file $PARTAGE_WALL_CLOCK
// (eight bytes, which may change at any time) says; the monotonic clocks stay as they are.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

const std::int64_t* offset = nullptr;

[[gnu::constructor]] void Map() {
  const char* path = std::getenv("PARTAGE_WALL_CLOCK");
  const int file = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void* page = ::mmap(nullptr, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
  if (page != MAP_FAILED) offset = static_cast<const std::int64_t*>(page);
  ::close(file);
}

std::int64_t Offset() { return offset == nullptr ? 0 : __atomic_load_n(offset, __ATOMIC_RELAXED); }

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const auto result = static_cast<int>(::syscall(SYS_clock_gettime, clock, now));
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += Offset();
  return result;
}

int gettimeofday(timeval* now, void*) noexcept {
  timespec precise;
  const int result = clock_gettime(CLOCK_REALTIME, &precise);
  *now = {precise.tv_sec, precise.tv_nsec / 1000};
  return result;
}

time_t time(time_t* now) noexcept {
  timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now != nullptr) *now = precise.tv_sec;
  return precise.tv_sec;
}
}
