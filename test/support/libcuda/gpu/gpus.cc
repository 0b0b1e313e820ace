// SPDX-License-Identifier: Apache-2.0
#include "test/support/libcuda/gpu/gpus.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <new>

namespace partage::fake_gpu {
namespace {

constexpr uint64_t kReady = 0x66616b65'67707501;  // changes with the layout
constexpr int64_t kSweepEveryNs = 50'000'000;
constexpr int64_t kSpinNs = 60'000;  // a sleep may last this much longer than asked for, so the end of a wait is spun

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::abort();
}

void InitialiseLock(pthread_mutex_t& lock) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&lock, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

/// A record lock on one byte of the file: it goes with its process, however that ends, and a forked child does not have it.
struct flock ByteLock(int device, int tenant) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = device * kMaxTenants + tenant;
  lock.l_len = 1;
  return lock;
}

void Sleep(int64_t ns) {
  const timespec span{ns / 1'000'000'000, ns % 1'000'000'000};
  nanosleep(&span, nullptr);
}

}  // namespace

/// The device's lock, held, with the device run up to now.
class Gpus::Locked {
 public:
  Locked(Gpus& gpus, int device) : entry_(gpus.file_->entries[device]) {
    if (pthread_mutex_lock(&entry_.lock) == EOWNERDEAD) {
      entry_.gpu.Recount();
      pthread_mutex_consistent(&entry_.lock);
    }
    const int64_t now = Now();
    if (gpus.fd_ >= 0 && now - entry_.gpu.swept_at > kSweepEveryNs) gpus.Sweep(device, entry_.gpu);
    entry_.gpu.Advance(now);
  }
  ~Locked() { pthread_mutex_unlock(&entry_.lock); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

  SharedGpu& gpu() { return entry_.gpu; }
  SharedGpu* operator->() { return &entry_.gpu; }

 private:
  SharedFile::Entry& entry_;
};

Gpus& Gpus::Get() {
  static Gpus& gpus = *new Gpus(Profile::Get());
  static const int registered = pthread_atfork(nullptr, nullptr, [] { gpus.AfterFork(); });
  (void)registered;
  return gpus;
}

Gpus::Gpus(const Profile& profile) : profile_(profile) {
  if (!profile.shm.empty()) {
    Share(profile.shm);
    return;
  }
  void* memory = mmap(nullptr, sizeof(SharedFile), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) Fail("fake driver: memory of the GPUs");
  file_ = static_cast<SharedFile*>(memory);
  SetUp();
}

void Gpus::Share(const std::string& path) {
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0 || flock(fd_, LOCK_EX) != 0) Fail(("fake driver: " + path).c_str());
  struct stat status {};
  fstat(fd_, &status);
  if (status.st_size != sizeof(SharedFile) && ftruncate(fd_, sizeof(SharedFile)) != 0) Fail("fake driver: size of the shared file");
  void* memory = mmap(nullptr, sizeof(SharedFile), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (memory == MAP_FAILED) Fail("fake driver: shared file");
  file_ = static_cast<SharedFile*>(memory);
  if (file_->ready != kReady) SetUp();
  flock(fd_, LOCK_UN);
}

void Gpus::SetUp() {
  for (auto& entry : file_->entries) {
    InitialiseLock(entry.lock);
    entry.gpu.slice = profile_.slice_ns;
  }
  const size_t count = std::min<size_t>(profile_.devices.size(), kMaxDevices);
  for (size_t i = 0; i < count; ++i) file_->entries[i].gpu.capacity = profile_.devices[i].memory;
  file_->ready = kReady;
}

Tenant& Gpus::OwnTenant(int device, SharedGpu& gpu) {
  Place& place = places_[device];
  if (place.tenant < 0) {
    place.tenant = gpu.Join(getpid());
    if (place.tenant < 0) Fail("fake driver: more processes than a device has places for");
    auto lock = ByteLock(device, place.tenant);
    if (fd_ >= 0 && fcntl(fd_, F_SETLK, &lock) != 0) Fail("fake driver: lock of the process's place");
  }
  return gpu.tenants[static_cast<size_t>(place.tenant)];
}

bool Gpus::HoldsByte(int device, int tenant) const {
  if (tenant == places_[device].tenant) return true;  // a process is never told of its own locks
  auto lock = ByteLock(device, tenant);
  return fcntl(fd_, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

void Gpus::Sweep(int device, SharedGpu& gpu) {
  if (fd_ < 0) return;
  for (int i = 0; i < gpu.places; ++i) {
    if (gpu.tenants[static_cast<size_t>(i)].pid != 0 && !HoldsByte(device, i)) gpu.Leave(i);
  }
  gpu.swept_at = Now();
}

bool Gpus::Reserve(int device, uint64_t bytes) {
  Locked gpu(*this, device);
  OwnTenant(device, gpu.gpu());
  if (gpu->Reserve(places_[device].tenant, bytes)) return true;
  Sweep(device, gpu.gpu());
  return gpu->Reserve(places_[device].tenant, bytes);
}

void Gpus::Release(int device, uint64_t bytes) {
  Locked gpu(*this, device);
  OwnTenant(device, gpu.gpu());
  gpu->Release(places_[device].tenant, bytes);
}

uint64_t Gpus::UsedBytes(int device) {
  Locked gpu(*this, device);
  Sweep(device, gpu.gpu());
  return gpu->used;
}

uint64_t Gpus::OwnBytes(int device) {
  Locked gpu(*this, device);
  return OwnTenant(device, gpu.gpu()).used;
}

bool Gpus::TrySubmit(int device, int64_t ns, int64_t& mark) {
  Locked gpu(*this, device);
  const Tenant& tenant = OwnTenant(device, gpu.gpu());
  auto& unfinished = places_[device].unfinished;
  while (!unfinished.empty() && unfinished.front() <= tenant.served) unfinished.pop_front();
  if (unfinished.size() >= profile_.queue_depth) {
    mark = unfinished.front();
    return false;
  }
  mark = gpu->Submit(places_[device].tenant, ns);
  unfinished.push_back(mark);
  return true;
}

int64_t Gpus::Submit(int device, int64_t ns) {
  int64_t mark = 0;
  while (!TrySubmit(device, ns, mark)) Wait(device, mark);
  return mark;
}

int64_t Gpus::LastMark(int device) {
  Locked gpu(*this, device);
  return OwnTenant(device, gpu.gpu()).submitted;
}

int64_t Gpus::Remaining(int device, int64_t mark) {
  Locked gpu(*this, device);
  return mark - OwnTenant(device, gpu.gpu()).served;
}

bool Gpus::Done(int device, int64_t mark) { return Remaining(device, mark) <= 0; }

void Gpus::Wait(int device, int64_t mark) {
  for (int64_t remaining = Remaining(device, mark); remaining > 0; remaining = Remaining(device, mark)) {
    // At best nobody else is on the device; else this looks again, with less remaining every time.
    if (remaining > kSpinNs)
      Sleep(remaining - kSpinNs);
    else
      for (const int64_t end = Now() + remaining; Now() < end;) sched_yield();
  }
}

int64_t Gpus::FinishedAt(int device, int64_t mark) {
  Locked gpu(*this, device);
  return OwnTenant(device, gpu.gpu()).FinishedAt(mark);
}

unsigned Gpus::Percent(const BusyHistory& busy, int64_t& sampled_at) const {
  const int64_t period = std::max(profile_.nvml_period_ns, kBucketNs);
  sampled_at = (Now() - profile_.nvml_lag_ns) / period * period;
  const int64_t to = sampled_at / kBucketNs * kBucketNs;
  const int64_t from = (sampled_at - period) / kBucketNs * kBucketNs;
  return static_cast<unsigned>((busy.Between(from, to) * 100 + (to - from) / 2) / (to - from));
}

unsigned Gpus::Utilization(int device, int64_t& sampled_at) {
  Locked gpu(*this, device);
  return Percent(gpu->busy, sampled_at);
}

std::vector<ProcessUse> Gpus::Processes(int device) {
  std::vector<ProcessUse> found;
  if (profile_.host_pids == HostPids::kHidden) return found;
  Locked gpu(*this, device);
  Sweep(device, gpu.gpu());
  int64_t sampled_at = 0;
  for (int i = 0; i < gpu->places; ++i) {
    const Tenant& tenant = gpu->tenants[static_cast<size_t>(i)];
    if (tenant.pid == 0) continue;
    const auto offset = profile_.host_pids == HostPids::kOffset ? profile_.host_pid_offset : 0;
    found.push_back({static_cast<int32_t>(tenant.pid + offset), tenant.used, Percent(tenant.busy, sampled_at)});
  }
  return found;
}

void Gpus::AfterFork() {
  for (Place& place : places_) new (&place) Place{};  // another thread of the parent may have been changing what is in it
  if (fd_ >= 0) return;
  for (auto& entry : file_->entries) InitialiseLock(entry.lock);  // another thread of the parent may have held one
}

int64_t Gpus::Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace partage::fake_gpu
