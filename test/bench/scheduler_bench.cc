// SPDX-License-Identifier: Apache-2.0
// Measures the real partage-scheduler over HTTP, against the fake API server in a process of its own. `partage-bench [--shrink N] [--only PREFIX]`
// prints one line "ID VALUE" a measurement on stdout; what it is doing goes to stderr. docs/benchmarks.md says what each means.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include <CLI/CLI.hpp>

#include "test/bench/bind_load.h"
#include "test/bench/filter_load.h"
#include "test/bench/fleet_server.h"
#include "test/bench/give_up.h"
#include "test/bench/samples.h"
#include "test/bench/scheduler_process.h"

namespace partage::bench {
namespace {

constexpr int kRounds = 7;
constexpr int kWriteMs = 2;
constexpr int kConflictsInHundred = 5;
constexpr int kChurnPerSecond = 2000;

struct Options {
  int shrink = 1;  ///< sizes are divided by this
  std::string only;
};

/// Where processes keep their logs; deleted at the end.
class WorkFolder {
 public:
  WorkFolder() {
    std::string name = std::filesystem::temp_directory_path() / "partage-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) GiveUp("no folder {}", name);
    path_ = name;
  }
  ~WorkFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A fleet and the scheduler that serves it, ready.
struct Rig {
  Rig(const Fleet& of, const std::string& folder) : fleet(of), api(fleet, folder), scheduler(api.url(), folder) {
    ready_after_s = scheduler.WaitReady();
    Say("{} nodes with {} pods: ready after {:.2f} s", fleet.nodes, fleet.nodes * fleet.pods_per_node, ready_after_s);
  }
  Fleet fleet;
  FleetServer api;
  SchedulerProcess scheduler;
  double ready_after_s;
};

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)) {}

  void Run() {
    if (WantsAny({"filter_500_of_5000", "filter_5000_of_5000", "filter_bind_pods_per_s", "writes_per_pod"})) FiveThousandNodes();
    if (WantsAny({"binds_per_s_one_node"})) OneNode();
    if (WantsAny({"cold_start", "filter_15000_of_15000", "filter_churn", "filter_growth", "rss"})) FifteenThousandNodes();
  }

 private:
  int Shrunk(int size) const { return std::max(1, size / options_.shrink); }

  bool Wants(std::string_view id) const { return id.starts_with(options_.only) || options_.only.starts_with(id); }
  bool WantsAny(std::initializer_list<std::string_view> ids) const {
    return std::any_of(ids.begin(), ids.end(), [this](std::string_view id) { return Wants(id); });
  }
  void Report(const std::string& id, double value) const {
    if (!id.starts_with(options_.only)) return;
    fmt::print("{} {:.6g}\n", id, value);
    std::fflush(stdout);
  }

  void FiveThousandNodes() {
    Rig rig({.nodes = Shrunk(5000)}, folder_.path());
    MeasureFilter(rig, "filter_500_of_5000", Shrunk(500));
    MeasureFilter(rig, "filter_5000_of_5000", rig.fleet.nodes);
    if (WantsAny({"filter_bind_pods_per_s", "writes_per_pod"})) MeasureBinds(rig);
  }

  void OneNode() {
    Rig rig({.nodes = 1, .pods_per_node = 0, .slots = 1000}, folder_.path());
    const auto outcome = MeasureBindLoad(rig, Shrunk(1000), PendingPod::kSmallForm);
    Report("binds_per_s_one_node", outcome.pods_per_s);
  }

  void FifteenThousandNodes() {
    Rig rig({.nodes = Shrunk(15000)}, folder_.path());
    if (Wants("cold_start")) MeasureColdStart(rig);
    MeasureFilter(rig, "filter_15000_of_15000", rig.fleet.nodes);
    Report("rss_15000n_120000p_mib", RssAfterFilters(rig));
    if (Wants("filter_churn")) MeasureChurn(rig);
    if (WantsAny({"filter_growth", "rss_15000n_1200000p"})) MeasureGrowth(rig);
  }

  Latency FilterRounds(FilterLoad& load, int calls) const {
    Latency warm_up, latency;
    load.Round(Shrunk(300), warm_up);
    for (int round = 0; round < kRounds; ++round) load.Round(calls, latency);
    return latency;
  }

  void MeasureFilter(const Rig& rig, const std::string& id, int candidates) const {
    if (!Wants(id)) return;
    FilterLoad load(rig.scheduler.port(), rig.fleet, candidates);
    const double cpu = rig.scheduler.process().CpuSeconds();
    const Latency latency = FilterRounds(load, Shrunk(1000));
    const double calls = kRounds * Shrunk(1000) + Shrunk(300);
    Say("{}: {:.0f} µs of the scheduler's CPU a call", id, (rig.scheduler.process().CpuSeconds() - cpu) / calls * 1e6);
    Report(id + "_p50_us", Median(latency.p50));
    Report(id + "_p99_us", Median(latency.p99));
  }

  double RssAfterFilters(const Rig& rig) const {
    if (!Wants("rss")) return 0;
    FilterLoad load(rig.scheduler.port(), rig.fleet, rig.fleet.nodes);
    Latency unused;
    load.Round(Shrunk(300), unused);
    const Child& process = rig.scheduler.process();
    Say("{} pods: {:.0f} MiB resident, {:.0f} at its highest", rig.fleet.nodes * rig.fleet.pods_per_node, process.RssMib(),
        process.PeakRssMib());
    return process.RssMib();
  }

  struct BindResult {
    double pods_per_s, writes_per_pod;
  };
  BindResult MeasureBindLoad(Rig& rig, int pods, std::optional<int> form) const {
    std::vector<FilterBody> bodies;
    for (int f = 0; f < (form ? 1 : PendingPod::kForms); ++f) {
      bodies.emplace_back(form.value_or(f), Candidates(rig.fleet, rig.fleet.nodes, static_cast<std::uint64_t>(f)));
    }
    BindLoad load(rig.scheduler.port(), std::move(bodies));
    rig.api.AddPending(0, kRounds * pods, form.has_value());
    rig.api.SlowWrites(kWriteMs, kConflictsInHundred);
    const auto writes = rig.api.Writes();
    const double api_cpu = rig.api.CpuSeconds(), own_cpu = rig.scheduler.process().CpuSeconds();
    std::vector<double> rates;
    for (int round = 0; round < kRounds; ++round) {
      const auto outcome = load.Run(round * pods, pods);
      rates.push_back(outcome.pods_per_s);
      Say("{} pods bound: {:.0f} pods/s, {} binds failed", pods, outcome.pods_per_s, outcome.failed_binds);
    }
    const double bound = kRounds * pods;
    Say("CPU a pod: scheduler {:.0f} µs, API server {:.0f} µs", (rig.scheduler.process().CpuSeconds() - own_cpu) / bound * 1e6,
        (rig.api.CpuSeconds() - api_cpu) / bound * 1e6);
    return {Median(rates), static_cast<double>(rig.api.Writes() - writes) / bound};
  }

  void MeasureBinds(Rig& rig) const {
    const auto result = MeasureBindLoad(rig, Shrunk(2000), std::nullopt);
    Report("filter_bind_pods_per_s", result.pods_per_s);
    Report("writes_per_pod", result.writes_per_pod);
  }

  void MeasureColdStart(const Rig& rig) const {
    std::vector<double> seconds = {rig.ready_after_s};
    for (int i = 0; i < 4; ++i) {
      SchedulerProcess another(rig.api.url(), folder_.path());
      seconds.push_back(another.WaitReady());
      Say("ready after {:.2f} s, of them {:.2f} s CPU", seconds.back(), another.process().CpuSeconds());
    }
    Report("cold_start_15000n_120000p_s", Median(seconds));
  }

  void MeasureChurn(Rig& rig) const {
    FilterLoad load(rig.scheduler.port(), rig.fleet, rig.fleet.nodes);
    Latency idle, churned;
    load.Round(Shrunk(300), idle);
    idle = {};
    for (int round = 0; round < kRounds; ++round) {
      rig.api.Churn(0);
      load.Round(Shrunk(1000), idle);
      rig.api.Churn(kChurnPerSecond);
      load.Round(Shrunk(1000), churned);
      Say("p99 idle {:.0f} µs, under {:.0f} events/s {:.0f} µs", idle.p99.back(), rig.api.Churn(0), churned.p99.back());
    }
    Report("filter_churn_p99_ratio", Median(churned.p99) / Median(idle.p99));
  }

  void MeasureGrowth(const Rig& young) const {
    Fleet grown = young.fleet;
    grown.pods_per_node *= 10;
    const Rig old(grown, folder_.path());
    FilterLoad young_load(young.scheduler.port(), young.fleet, young.fleet.nodes);
    FilterLoad old_load(old.scheduler.port(), old.fleet, old.fleet.nodes);
    Latency of_young, of_old, warm_up;
    young_load.Round(Shrunk(300), warm_up);
    old_load.Round(Shrunk(300), warm_up);
    for (int round = 0; round < kRounds; ++round) {
      young_load.Round(Shrunk(1000), of_young);
      old_load.Round(Shrunk(1000), of_old);
      Say("p50 with {} pods {:.0f} µs, with {} {:.0f} µs", young.fleet.nodes * young.fleet.pods_per_node, of_young.p50.back(),
          grown.nodes * grown.pods_per_node, of_old.p50.back());
    }
    Report("filter_growth_1200000_pods_ratio", Median(of_old.p50) / Median(of_young.p50));
    Report("rss_15000n_1200000p_mib", RssAfterFilters(old));
  }

  const Options options_;
  const WorkFolder folder_;
};

int Main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "serve") == 0) return ServeFleet();
  Options options;
  CLI::App app{"Measures partage-scheduler; see docs/benchmarks.md"};
  app.add_option("--shrink", options.shrink, "Divide all sizes by this: for trying, not for measuring")->check(CLI::Range(1, 1000));
  app.add_option("--only", options.only, "Only measurements whose id begins so");
  CLI11_PARSE(app, argc, argv);
  Bench(std::move(options)).Run();
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace partage::bench

int main(int argc, char** argv) { return partage::bench::Main(argc, argv); }
