// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/limiter/sim_node.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

namespace partage::test {
namespace {

constexpr int kQueueDepth = 1024;         // launches a real driver takes before it blocks
constexpr int64_t kHostLaunchNs = 3'000;  // what a launch costs the host
constexpr int64_t kWakeUpNs = 8'000;      // from the end of a kernel to the thread that waited for it
constexpr int64_t kCounterWindowNs = 1'000'000'000;
constexpr int64_t kCounterLagNs = 200'000'000;
constexpr int64_t kStartNs = 1'000'000'000;

}  // namespace

struct SimNode::Process {
  SimNode& node;
  SimTenant& tenant;
  int context;
  std::uint32_t number;  // from 1
  std::unique_ptr<limiter::Limiter> core = std::make_unique<limiter::Limiter>();
  std::list<Thread> threads{};
  std::deque<int64_t> stamps{};  // of events; never shrinks, so that their addresses stay
};

/// The limiter's events on the simulated GPU. The limiter has one process at a time on its stack.
struct SimNode::Events {
  static Process* current;
  static const limiter::EventDriver kDriver;

  static void* Context() { return current; }
  static void* Create() { return &current->stamps.emplace_back(0); }
  static bool Record(void* event, void*) {
    auto* stamp = static_cast<int64_t*>(event);
    *stamp = 0;
    current->node.gpu.Record(current->context, stamp);
    return true;
  }
  static int Query(void* event) { return *static_cast<int64_t*>(event) != 0 ? 1 : 0; }
  static int64_t Elapsed(void* first, void* second) {
    const auto span = static_cast<double>(*static_cast<int64_t*>(second) - *static_cast<int64_t*>(first));
    return static_cast<int64_t>(span * current->tenant.cost_bias) / 500 * 500;  // events resolve half a microsecond
  }
  static void Destroy(void*) {}
};
SimNode::Process* SimNode::Events::current = nullptr;
const limiter::EventDriver SimNode::Events::kDriver = {Context, Create, Record, Query, Elapsed, Destroy};

struct SimNode::Thread {
  Process& process;
  Program program;
  limiter::ThreadCredit credit{};
  Step step{};
  limiter::Admission admission{};
  int64_t asked_ns = 0;

  Agenda& agenda() { return process.node.agenda; }
  // No address of this process may enter a simulation that is to repeat itself.
  limiter::CostKey Key() const {
    const auto handle =
        process.number * std::uintptr_t{0x10000} + static_cast<std::uintptr_t>(step.which) * 64 + (step.kind == Step::kGraph ? 0x8000 : 0);
    return limiter::KernelKey(reinterpret_cast<const void*>(handle), 0, 1, 1, 1);
  }

  void Next() {
    step = program();
    if (step.kind == Step::kHost) return agenda().After(step.ns, [this] { Next(); });
    SimGpu& gpu = process.node.gpu;
    if (step.kind == Step::kSynchronize) {
      return gpu.WhenAtMost(process.context, 0, [this] { agenda().After(kWakeUpNs, [this] { Next(); }); });
    }
    if (gpu.outstanding(process.context) < kQueueDepth) return Attempt();
    gpu.WhenAtMost(process.context, kQueueDepth - 1, [this] { Attempt(); });
  }

  void Attempt() {
    limiter::Limiter& core = *process.core;
    limiter::CostCell& cell = core.costs().Find(Key());
    if (limiter::Limiter::Fast(credit, 0, cell)) return Submit(false);
    asked_ns = agenda().now();
    admission = core.Begin(credit, Key(), cell, 0, true, asked_ns);
    Poll();
  }

  void Poll() {
    Events::current = &process;
    const int64_t wait = process.core->Poll(admission, credit, process.tenant.share, Events::kDriver, agenda().now());
    if (wait == 0) {
      process.tenant.longest_wait_ns = std::max(process.tenant.longest_wait_ns, agenda().now() - asked_ns);
      return Submit(admission.measure);
    }
    std::uniform_int_distribution<int64_t> oversleep(40'000, 120'000);
    agenda().After(wait + oversleep(process.node.random_), [this] { Poll(); });
  }

  void Submit(bool measure) {
    Events::current = &process;
    ++process.tenant.launches;
    const int slot = measure ? process.core->StartMeasure(admission, Events::kDriver, nullptr) : -1;
    process.node.gpu.Launch(process.context, step.ns);
    process.core->FinishMeasure(admission, Events::kDriver, slot, nullptr, true);
    agenda().After(kHostLaunchNs, [this] { Next(); });
  }
};

SimNode::SimNode(int64_t switch_ns, std::uint32_t seed) : gpu(agenda, switch_ns), random_(seed) {}
SimNode::~SimNode() = default;

void SimNode::Run(int64_t ns) {
  agenda.RunUntil(agenda.now() + ns);
  gpu.CatchUp();
}

SimTenant& SimNode::Add(int cores_percent, std::vector<Program> threads) {
  SimTenant& tenant = tenants.emplace_back();
  tenant.name = "tenant " + std::to_string(tenants.size());
  tenant.policy.cores_percent = cores_percent;
  tenant.policy.priority = 1;
  tenant.share.cores_percent = cores_percent;
  tenant.share.grant_ppm = limiter::kNoGrant;
  AddProcess(tenant, std::move(threads));
  return tenant;
}

void SimNode::AddProcess(SimTenant& tenant, std::vector<Program> threads) {
  tenant.contexts.push_back(gpu.AddContext());
  Process& process =
      *processes_.emplace_back(new Process{*this, tenant, tenant.contexts.back(), static_cast<std::uint32_t>(processes_.size() + 1)});
  process.core->Attach(0, &tenant.bucket);
  for (Program& program : threads) {
    Thread& thread = process.threads.emplace_back(Thread{process, std::move(program)});
    thread.credit.random = static_cast<std::uint32_t>(random_()) | 1;
    agenda.After(0, [&thread] { thread.Next(); });
  }
}

void SimNode::StartAgent(bool with_trim) {
  agenda.After(limiter::Governor::kTickNs, [this] { Tick(); });
  if (with_trim) agenda.After(kCounterWindowNs, [this] { UpdateTrim(); });
}

void SimNode::Tick() {
  std::vector<limiter::Tenant> views;
  for (SimTenant& tenant : tenants) {
    tenant.policy.spent_ns = tenant.bucket.spent_ns.load();
    tenant.policy.hungry_stamp_ns = tenant.bucket.hungry_stamp_ns.load();
    views.push_back(tenant.policy);
  }
  limiter::Governor::Tick(views.data(), static_cast<int>(views.size()), agenda.now());
  auto view = views.begin();
  for (SimTenant& tenant : tenants) {
    tenant.policy = *view++;
    tenant.share.policy = tenant.policy.policy;
    tenant.share.grant_ppm = tenant.policy.grant_ppm;
    tenant.share.neighbours_known = true;
    tenant.share.neighbours_busy = tenant.policy.neighbours_busy;
  }
  agenda.After(limiter::Governor::kTickNs, [this] { Tick(); });
}

void SimNode::UpdateTrim() {
  gpu.CatchUp();
  const int64_t to = agenda.now() / SimGpu::kBinNs * SimGpu::kBinNs;
  for (SimTenant& tenant : tenants) {
    const int64_t used = Used(tenant, to - kCounterWindowNs, to);
    const int64_t percent = (used * 100 + kCounterWindowNs / 2) / kCounterWindowNs;  // counters know whole percents only
    const int64_t admitted = limiter::Admitted(tenant.bucket);
    const int64_t charged = admitted - std::exchange(tenant.counted_ns, admitted);
    agenda.After(kCounterLagNs,
                 [&tenant, charged, percent] { tenant.share.trim_ppm = tenant.trim.Update(charged, percent * (kCounterWindowNs / 100)); });
  }
  agenda.After(kCounterWindowNs, [this] { UpdateTrim(); });
}

int64_t SimNode::Used(const SimTenant& tenant, int64_t from, int64_t to) const {
  int64_t sum = 0;
  for (int context : tenant.contexts) sum += gpu.Used(context, from, to);
  return sum;
}

double SimNode::Percent(const SimTenant& tenant, int64_t from, int64_t window) const {
  return 100.0 * static_cast<double>(Used(tenant, kStartNs + from, kStartNs + from + window)) / static_cast<double>(window);
}

Errors ErrorsOver(const SimNode& node, const SimTenant& tenant, double percent, int64_t window, int64_t until) {
  Errors errors;
  int count = 0;
  for (int64_t from = 0; from + window <= until; from += 50'000'000) {
    const double error = std::abs(node.Percent(tenant, from, window) - percent);
    errors.worst = std::max(errors.worst, error);
    errors.mean += (error - errors.mean) / ++count;
  }
  return errors;
}

namespace programs {

Program Stream(int64_t kernel_ns, int which) {
  return [=] { return Step{Step::kKernel, kernel_ns, which}; };
}

Program Synchronous(int64_t kernel_ns, int64_t host_ns) { return Bursts(kernel_ns, 1, host_ns); }

Program Bursts(int64_t kernel_ns, int count, int64_t host_ns) {
  return [=, i = 0]() mutable {
    if (i < count) return ++i, Step{Step::kKernel, kernel_ns};
    if (i++ == count) return Step{Step::kSynchronize, 0};
    i = 0;
    return Step{Step::kHost, host_ns};
  };
}

Program Graphs(int64_t graph_ns) {
  return [=] { return Step{Step::kGraph, graph_ns}; };
}

Program Mixed(uint32_t seed) {
  return [random = std::mt19937(seed)]() mutable {
    const int which = static_cast<int>(random() % 12);
    const double typical = 5'000 * std::pow(1.85, which);
    const double factor = std::lognormal_distribution<double>(0, 0.4)(random);
    return Step{Step::kKernel, static_cast<int64_t>(typical * factor), which};
  };
}

Program During(Agenda& agenda, Program program, int64_t from, int64_t to) {
  return [&agenda, program = std::move(program), from, to] {
    const int64_t since = agenda.now() - kStartNs;
    if (since < from) return Step{Step::kHost, from - since};
    return since < to ? program() : Step{Step::kHost, int64_t{1} << 60};
  };
}

}  // namespace programs
}  // namespace partage::test
