// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "intercept/limiter/governor.h"
#include "intercept/limiter/limiter.h"
#include "test/intercept/limiter/sim_gpu.h"

namespace partage::test {

namespace limiter = intercept::limiter;

/// What a host thread of an application does next.
struct Step {
  enum Kind { kKernel, kGraph, kSynchronize, kHost } kind;
  int64_t ns;     ///< of GPU time, or of host time
  int which = 0;  ///< tells kernels apart
};
using Program = std::function<Step()>;

/// Programs of the accuracy table: each asks for more than the whole GPU.
namespace programs {
Program Stream(int64_t kernel_ns, int which = 0);               ///< launches as fast as the queue takes
Program Synchronous(int64_t kernel_ns, int64_t host_ns);        ///< waits for each kernel, then works on the host
Program Bursts(int64_t kernel_ns, int count, int64_t host_ns);  ///< a burst, wait for it, host work
Program Graphs(int64_t graph_ns);
Program Mixed(uint32_t seed);  ///< kernels of 5 µs to 5 ms whose durations vary from launch to launch
Program During(Agenda& agenda, Program program, int64_t from, int64_t to);  ///< idle outside [from, to) of simulated time
}  // namespace programs

/// One container on the simulated GPU: processes and threads running programs, the real limiter in each process, one bucket.
struct SimTenant {
  std::string name;
  std::vector<int> contexts{};  ///< one a process
  limiter::Tenant policy{};     ///< what the governor knows of it
  limiter::ComputeShare share{};
  shm::TokenBucket bucket{};
  limiter::Trim trim;
  int64_t counted_ns = 0;       ///< of what was admitted, at the last sample of the counters
  double cost_bias = 1;         ///< measured spans are multiplied by this: what events get wrong
  int64_t longest_wait_ns = 0;  ///< of one launch
  int64_t launches = 0;
};

/// A node with one GPU and several containers.
class SimNode {
 public:
  explicit SimNode(int64_t switch_ns = 0, std::uint32_t seed = 7);
  ~SimNode();
  SimNode(const SimNode&) = delete;
  SimNode& operator=(const SimNode&) = delete;

  /// A container with a limit in percent (0: none) whose single process runs these programs, one thread each.
  SimTenant& Add(int cores_percent, std::vector<Program> threads);
  /// One more process in the container.
  void AddProcess(SimTenant& tenant, std::vector<Program> threads);
  /// Lets the agent's half work: the governor every tick, and the trim from counters that lag and count in whole percents.
  void StartAgent(bool with_trim = true);

  void Run(int64_t ns);

  /// Percent of the GPU that the tenant used in [from, from + window), in ns since the start of the simulation.
  double Percent(const SimTenant& tenant, int64_t from, int64_t window) const;

  Agenda agenda;
  SimGpu gpu;
  std::list<SimTenant> tenants;

 private:
  struct Process;
  struct Thread;
  struct Events;
  void Tick();
  void UpdateTrim();
  int64_t Used(const SimTenant& tenant, int64_t from, int64_t to) const;

  std::list<std::unique_ptr<Process>> processes_;
  std::mt19937 random_;
};

/// How far a tenant's use was from `percent` over all windows of this length, stepped by 50 ms, from the start to `until`.
struct Errors {
  double mean = 0;  ///< of the distances
  double worst = 0;
};
Errors ErrorsOver(const SimNode& node, const SimTenant& tenant, double percent, int64_t window, int64_t until);

}  // namespace partage::test
