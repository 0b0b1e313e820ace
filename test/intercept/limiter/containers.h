// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <list>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "intercept/limiter/governor.h"
#include "shm/limits.h"
#include "shm/region.h"
#include "test/support/libcuda/gpu/gpus.h"
#include "test/support/temp_folder.h"

namespace partage::test {

namespace limiter = intercept::limiter;

/// What a process of a container does for ever.
struct Load {
  std::string kernel = "1ms";  ///< how long its kernels run
  int burst = 0;               ///< so many at a time, then it waits for them and does 2 ms of something else; 0: as fast as it may
  int graph = 0;               ///< launches graphs of so many kernels
  enum Forks { kNo, kChildLaunches, kBothLaunch } forks = kNo;  ///< after the library came to life, before cuInit
};

/// Time as CLOCK_MONOTONIC counts it, which is the fake GPU's too.
std::int64_t NowNs();
void SleepUntil(std::int64_t ns);
inline void SleepMs(std::int64_t ms) { SleepUntil(NowNs() + ms * 1'000'000); }

/// Containers that share one fake GPU in real time: processes with what ships preloaded, a limits and a usage file for each container, and what the GPU
/// really gave each of them. The test's own process must not use CUDA before.
class Containers {
 public:
  struct Share {
    std::uint32_t cores = 0;
    shm::CorePolicy policy = shm::CorePolicy::kDefault;
    std::uint32_t priority = 1;
    bool soft = false;
    std::map<std::string, std::string> variables;  ///< of its processes
    bool file = true;                              ///< false: its processes are not told of the limits file
  };

  explicit Containers(const std::string& profile = "");
  ~Containers();
  Containers(const Containers&) = delete;
  Containers& operator=(const Containers&) = delete;

  int Add(const Share& share);
  /// A process in the container; it launches from the start, or first when it is told to.
  void Start(int container, const Load& load, bool launching = true);
  /// Lets the container's processes launch, or pause.
  void Let(int container, bool launch);
  /// When the first of its processes launched again after it was let to; waits for that.
  std::int64_t ResumedAt(int container) const;

  /// What the GPU has given each container, at one moment.
  struct Moment {
    std::int64_t ns = 0;
    std::vector<std::int64_t> served;
  };
  Moment Now();
  /// The same at a moment of about the last second.
  Moment At(std::int64_t ns);
  /// Percent of the GPU that the container had between two moments.
  static double Percent(int container, const Moment& from, const Moment& to);
  /// The same from the beginning of the first kernel after `from_ns` to that of the last one so far: for kernels that are long beside the time that is
  /// measured. Negative: there were none.
  double PercentOfWholeKernels(int container, std::int64_t from_ns);
  /// Over so much time from now on.
  double PercentOver(int container, std::int64_t ms);

  /// What an agent writes, and has to go by.
  shm::AgentLine& agent_line(int container) { return Of(container).limits->agent[0]; }
  const shm::TokenBucket& bucket(int container) { return Of(container).usage.layout().buckets[0]; }
  const Share& share(int container) { return Of(container).share; }
  int count() const { return static_cast<int>(containers_.size()); }
  /// Counts up the limits of all, as an agent does when it starts.
  void WriteLimits();

 private:
  class Gpu;
  struct Told;  // by the test to its processes, in memory that they share
  struct Container {
    Share share;
    std::string folder;
    shm::LimitsLayout* limits = nullptr;
    shm::Region usage;
    Told* told = nullptr;
    std::vector<pid_t> processes;  // that launch
    std::vector<pid_t> parents;    // that the test made
  };

  Container& Of(int container);
  void Write(const Container& container) const;
  [[noreturn]] void Work(const Container& container, const Load& load) const;
  void AwaitOnGpu(const Container& container);
  std::int64_t Served(const Container& container, std::int64_t ns) const;
  const fake_gpu::Tenant* TenantOf(pid_t process) const;

  TempFolder folder_;
  std::string profile_;
  fake_gpu::SharedFile* gpus_ = nullptr;
  std::list<Container> containers_;
};

/// A stand-in for the node agent's half of the limiter: the governor that ships with the library, called in real time; and the trim, from what the
/// GPU really gave.
class NodeAgent {
 public:
  enum Trimming { kNoTrim, kTrim };
  explicit NodeAgent(Containers& node, Trimming trimming = kNoTrim);
  ~NodeAgent();
  NodeAgent(const NodeAgent&) = delete;
  NodeAgent& operator=(const NodeAgent&) = delete;

  /// What it wrote last.
  std::int64_t trim_ppm(int container) const { return static_cast<std::int64_t>(node_.agent_line(container).trim_ppm.load()); }
  std::int64_t rate_ppm(int container) const { return static_cast<std::int64_t>(node_.agent_line(container).rate_ppm.load()); }

 private:
  void Tick(std::int64_t now_ns);
  void Measure();

  Containers& node_;
  Trimming trimming_;
  std::vector<limiter::Tenant> tenants_;
  std::vector<limiter::Trim> trims_;
  std::vector<std::int64_t> admitted_;
  Containers::Moment measured_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// An agent that is known to be alive and says what the test writes.
class Voice {
 public:
  Voice(Containers& node, int container) : line_(node.agent_line(container)) {
    line_.trim_ppm = limiter::kWholeGpu;
    line_.stamp_ns = static_cast<std::uint64_t>(NowNs());
    thread_ = std::thread([this] {
      for (; !stop_; SleepMs(20)) line_.stamp_ns = static_cast<std::uint64_t>(NowNs());
    });
  }
  ~Voice() {
    stop_ = true;
    thread_.join();
  }
  shm::AgentLine& line() { return line_; }

 private:
  shm::AgentLine& line_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace partage::test
