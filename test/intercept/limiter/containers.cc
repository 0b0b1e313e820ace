// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/limiter/containers.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <utility>

#include "test/intercept/limiter/limited_gpu.h"

namespace partage::test {
namespace {

using namespace intercept;

constexpr char kUuid[] = "GPU-5eed0000-0000-4000-8000-000000000001";
constexpr std::int64_t kTrimWindowNs = 250'000'000;  // an agent takes a second, and twenty seconds to learn what a test wants to see soon

constexpr std::int64_t kPatienceNs = 20'000'000'000;

/// Before what else runs on this machine, where that is allowed: what is judged is the library's timing, not the scheduler's.
void GoFirst() { setpriority(PRIO_PROCESS, 0, -15); }

template <class T>
T* Map(const std::string& path, std::size_t bytes) {
  const int fd = open(path.c_str(), O_RDWR);
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  REQUIRE(map != MAP_FAILED);
  return static_cast<T*>(map);
}

/// In a process of a container: what must work, or there is nothing to measure.
void Must(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  std::fprintf(stderr, "%s answered %d\n", what, static_cast<int>(result));
  _exit(1);
}

CUfunction KernelInNewContext(const std::string& duration) {
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;
  CUdeviceptr pointer = 0;
  Must(cuInit(0), "cuInit");
  Must(cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
  Must(cuCtxSetCurrent(context), "cuCtxSetCurrent");
  Must(cuModuleLoadData(&module, "any image"), "cuModuleLoadData");
  Must(cuModuleGetFunction(&kernel, module, ("spin_" + duration).c_str()), "cuModuleGetFunction");
  Must(cuMemAlloc_v2(&pointer, 1 << 20), "cuMemAlloc");  // takes a place on the GPU
  return kernel;
}

CUgraphExec GraphOf(CUfunction kernel, int count) {
  CUstream stream = nullptr;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  Must(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  Must(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), "cuStreamBeginCapture");
  for (int i = 0; i < count; ++i) Must(LaunchOn(kernel, stream), "cuLaunchKernel");
  Must(cuStreamEndCapture(stream, &graph), "cuStreamEndCapture");
  Must(cuGraphInstantiateWithFlags(&exec, graph, 0), "cuGraphInstantiate");
  return exec;
}

}  // namespace

std::int64_t NowNs() { return fake_gpu::Gpus::Now(); }

void SleepUntil(std::int64_t ns) {
  const timespec until{ns / 1'000'000'000, ns % 1'000'000'000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

struct Containers::Told {
  std::atomic<bool> launch;
  std::atomic<std::int64_t> resumed_ns;
  std::atomic<pid_t> child;
};

Containers::Containers(const std::string& profile) : profile_("shm " + folder_.path() + "/gpus; device memory=16G; " + profile) {
  REQUIRE(std::getenv("LD_PRELOAD") != nullptr);
}

Containers::~Containers() {
  for (const Container& container : containers_) {
    for (const pid_t process : container.processes) kill(process, SIGKILL);
    for (const pid_t process : container.parents) kill(process, SIGKILL);
    for (const pid_t process : container.parents) waitpid(process, nullptr, 0);
    munmap(container.limits, sizeof(shm::LimitsLayout));
    munmap(container.told, sizeof(Told));
  }
  if (gpus_ != nullptr) munmap(gpus_, sizeof(fake_gpu::SharedFile));
}

Containers::Container& Containers::Of(int container) { return *std::next(containers_.begin(), container); }

void Containers::Write(const Container& container) const {
  shm::LimitsContent content;
  content.devices = 1;
  content.policy = container.share.policy;
  content.priority = container.share.priority;
  std::snprintf(content.device[0].uuid, shm::kUuidBytes, "%s", kUuid);
  content.device[0].cores_percent = container.share.cores;
  content.device[0].memory_bytes = std::uint64_t{4} << 30;  // so that the library is there without a limit on compute, too
  content.device[0].flags = container.share.soft ? std::uint32_t{shm::kSoftCores} : 0;
  REQUIRE(shm::WriteLimits((container.folder + "/limits").c_str(), content) == shm::Fault::kNone);
}

void Containers::WriteLimits() {
  for (const Container& container : containers_) Write(container);
}

int Containers::Add(const Share& share) {
  Container& container = containers_.emplace_back();
  container.share = share;
  container.folder = folder_.path() + "/container" + std::to_string(containers_.size());
  std::filesystem::create_directories(container.folder);
  Write(container);
  container.limits = Map<shm::LimitsLayout>(container.folder + "/limits", sizeof(shm::LimitsLayout));
  REQUIRE(container.usage.OpenOrCreate((container.folder + "/usage").c_str()) == shm::Fault::kNone);
  void* told = mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(told != MAP_FAILED);
  container.told = new (told) Told{};
  return count() - 1;
}

void Containers::Start(int number, const Load& load, bool launching) {
  Container& container = Of(number);
  container.told->launch = launching;
  const pid_t process = fork();
  if (process == 0) Work(container, load);
  REQUIRE(process > 0);
  container.parents.push_back(process);
  if (load.forks != Load::kChildLaunches) container.processes.push_back(process);
  if (load.forks != Load::kNo) {
    for (const std::int64_t end = NowNs() + kPatienceNs; container.told->child == 0; SleepMs(1)) REQUIRE(NowNs() < end);
    container.processes.push_back(container.told->child);
  }
  AwaitOnGpu(container);
}

/// The place of each of its processes on the GPU says that it is ready.
void Containers::AwaitOnGpu(const Container& container) {
  const std::string path = folder_.path() + "/gpus";
  for (const std::int64_t end = NowNs() + kPatienceNs; Served(container, INT64_MAX) < 0; SleepMs(1)) {
    if (gpus_ == nullptr && std::filesystem::exists(path) && std::filesystem::file_size(path) == sizeof(fake_gpu::SharedFile))
      gpus_ = Map<fake_gpu::SharedFile>(path, sizeof(fake_gpu::SharedFile));
    REQUIRE(NowNs() < end);
  }
}

void Containers::Work(const Container& container, const Load& load) const {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGTERM}) std::signal(signal, SIG_DFL);  // not the test framework's
  prctl(PR_SET_PDEATHSIG, SIGKILL);                                                           // a test that is killed leaves nobody behind
  GoFirst();
  if (container.share.file) setenv("PARTAGE_LIMITS", (container.folder + "/limits").c_str(), 1);
  setenv("PARTAGE_USAGE", (container.folder + "/usage").c_str(), 1);
  setenv("FAKE_CUDA", profile_.c_str(), 1);
  for (const auto& [name, value] : container.share.variables) setenv(name.c_str(), value.c_str(), 1);
  if (load.forks != Load::kNo) {
    std::size_t free = 0, total = 0;
    cuMemGetInfo_v2(&free, &total);  // the library decides what holds here; but no cuInit, or CUDA would refuse to work in the child
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      container.told->child = getpid();
    } else if (load.forks == Load::kChildLaunches) {
      for (;;) pause();
    }
  }
  const CUfunction kernel = KernelInNewContext(load.kernel);
  const CUgraphExec graph = load.graph > 0 ? GraphOf(kernel, load.graph) : nullptr;
  for (bool paused = true;;) {
    if (!container.told->launch.load()) {
      paused = true;
      SleepUntil(NowNs() + 300'000);
      continue;
    }
    if (std::exchange(paused, false)) {
      std::int64_t none = 0;
      container.told->resumed_ns.compare_exchange_strong(none, NowNs());
    }
    for (int i = 0; i < std::max(1, load.burst); ++i) {
      if (graph != nullptr)
        Must(cuGraphLaunch(graph, nullptr), "cuGraphLaunch");
      else
        Must(LaunchOn(kernel), "cuLaunchKernel");
    }
    if (load.burst == 0) continue;
    Must(cuCtxSynchronize(), "cuCtxSynchronize");
    SleepMs(2);
  }
}

void Containers::Let(int container, bool launch) {
  Of(container).told->resumed_ns = 0;
  Of(container).told->launch = launch;
}

std::int64_t Containers::ResumedAt(int container) const {
  const Told& told = *std::next(containers_.begin(), container)->told;
  const std::int64_t end = NowNs() + kPatienceNs;
  while (told.resumed_ns.load() == 0) {
    REQUIRE(NowNs() < end);
    SleepMs(1);
  }
  return told.resumed_ns;
}

const fake_gpu::Tenant* Containers::TenantOf(pid_t process) const {
  const fake_gpu::SharedGpu& gpu = gpus_->entries[0].gpu;
  const auto* const end = gpu.tenants.begin() + gpu.places;
  const auto* const tenant = std::find_if(gpu.tenants.begin(), end, [&](const auto& one) { return one.pid == process; });
  return tenant == end ? nullptr : tenant;
}

/// Negative when one of its processes is not on the GPU. REQUIRES: the GPU's lock, or that nobody launches yet.
std::int64_t Containers::Served(const Container& container, std::int64_t ns) const {
  if (gpus_ == nullptr || gpus_->ready == 0) return -1;
  std::int64_t sum = 0;
  for (const pid_t process : container.processes) {
    const fake_gpu::Tenant* const tenant = TenantOf(process);
    if (tenant == nullptr) return -1;
    std::int64_t served = tenant->served;
    for (std::uint64_t i = tenant->segment_count; i > 0 && i + fake_gpu::kSegments > tenant->segment_count; --i) {
      const fake_gpu::Segment& segment = tenant->segments[(i - 1) % fake_gpu::kSegments];
      served = segment.served;
      if (segment.wall >= ns) continue;
      served += std::min(segment.length, ns - segment.wall);
      break;
    }
    sum += served;
  }
  return sum;
}

/// The GPU, held still and run up to this moment.
class Containers::Gpu {
 public:
  explicit Gpu(Containers& node) : entry_(node.gpus_->entries[0]) {
    if (pthread_mutex_lock(&entry_.lock) == EOWNERDEAD) pthread_mutex_consistent(&entry_.lock);
    now_ns = NowNs();
    entry_.gpu.Advance(now_ns);
  }
  ~Gpu() { pthread_mutex_unlock(&entry_.lock); }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  std::int64_t now_ns = 0;

 private:
  fake_gpu::SharedFile::Entry& entry_;
};

Containers::Moment Containers::At(std::int64_t ns) {
  const Gpu gpu(*this);
  Moment moment;
  moment.ns = std::min(ns, gpu.now_ns);
  for (const Container& container : containers_) moment.served.push_back(Served(container, moment.ns));
  return moment;
}

double Containers::PercentOfWholeKernels(int container, std::int64_t from_ns) {
  const Gpu gpu(*this);
  const fake_gpu::Tenant& tenant = *TenantOf(Of(container).processes.at(0));
  const fake_gpu::Segment* first = nullptr;
  const fake_gpu::Segment* last = nullptr;
  for (std::uint64_t i = tenant.segment_count; i > 0 && i + fake_gpu::kSegments > tenant.segment_count; --i) {
    const fake_gpu::Segment& segment = tenant.segments[(i - 1) % fake_gpu::kSegments];
    if (segment.length < 1'000) continue;  // an event alone
    if (segment.wall < from_ns) break;
    first = &segment;
    if (last == nullptr) last = &segment;
  }
  if (first == last) return -1;
  return 100.0 * static_cast<double>(last->served - first->served) / static_cast<double>(last->wall - first->wall);
}

Containers::Moment Containers::Now() { return At(INT64_MAX); }

double Containers::Percent(int container, const Moment& from, const Moment& to) {
  const auto index = static_cast<std::size_t>(container);
  return 100.0 * static_cast<double>(to.served[index] - from.served[index]) / static_cast<double>(to.ns - from.ns);
}

double Containers::PercentOver(int container, std::int64_t ms) {
  const Moment from = Now();
  SleepMs(ms);
  return Percent(container, from, Now());
}

NodeAgent::NodeAgent(Containers& node, Trimming trimming) : node_(node), trimming_(trimming), measured_(node.Now()) {
  for (int i = 0; i < node.count(); ++i) {
    const Containers::Share& share = node.share(i);
    limiter::Tenant tenant{};
    tenant.cores_percent = static_cast<std::int32_t>(share.cores);
    tenant.policy = static_cast<limiter::CorePolicy>(share.policy);
    tenant.priority = share.priority;
    tenant.soft = share.soft;
    tenants_.push_back(tenant);
    node.agent_line(i).trim_ppm = limiter::kWholeGpu;
    admitted_.push_back(limiter::Admitted(node.bucket(i)));
  }
  trims_.resize(tenants_.size());
  Tick(NowNs());
  node.WriteLimits();  // containers without a limit are counted from here on
  thread_ = std::thread([this] {
    GoFirst();
    for (std::int64_t next = NowNs(); !stop_; next = std::max(next + limiter::Governor::kTickNs, NowNs())) {
      SleepUntil(next);
      Tick(NowNs());
      if (trimming_ == kTrim && NowNs() - measured_.ns >= kTrimWindowNs) Measure();
    }
  });
}

NodeAgent::~NodeAgent() {
  stop_ = true;
  thread_.join();
}

void NodeAgent::Tick(std::int64_t now_ns) {
  for (int i = 0; i < node_.count(); ++i) {
    limiter::Tenant& tenant = tenants_[static_cast<std::size_t>(i)];
    tenant.spent_ns = node_.bucket(i).spent_ns.load();
    tenant.hungry_stamp_ns = node_.bucket(i).hungry_stamp_ns.load();
  }
  limiter::Governor::Tick(tenants_.data(), node_.count(), now_ns);
  for (int i = 0; i < node_.count(); ++i) {
    const limiter::Tenant& tenant = tenants_[static_cast<std::size_t>(i)];
    shm::AgentLine& line = node_.agent_line(i);
    line.rate_ppm = static_cast<std::uint64_t>(tenant.grant_ppm == limiter::kUnlimited ? limiter::kWholeGpu : tenant.grant_ppm);
    line.others_active = tenant.neighbours_busy ? 1 : 0;
    line.stamp_ns = static_cast<std::uint64_t>(now_ns);
  }
}

void NodeAgent::Measure() {
  const Containers::Moment now = node_.Now();
  for (std::size_t i = 0; i < tenants_.size(); ++i) {
    const std::int64_t admitted = limiter::Admitted(node_.bucket(static_cast<int>(i)));
    const std::int64_t charged = admitted - std::exchange(admitted_[i], admitted);
    node_.agent_line(static_cast<int>(i)).trim_ppm =
        static_cast<std::uint64_t>(trims_[i].Update(charged, now.served[i] - measured_.served[i]));
  }
  measured_ = now;
}

}  // namespace partage::test
