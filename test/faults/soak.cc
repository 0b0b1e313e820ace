// SPDX-License-Identifier: Apache-2.0
// partage-soak: the real partage-scheduler against the fake API server, pods of several priorities that come and go by the thousand, quotas and budgets that
// change, and random faults, for as long as one likes. Every while faults and traffic stop, and the scheduler's ledger must come to equal the pods'
// annotations. Exit status 1 for a difference, a quota that was passed, a growing memory or descriptors that do not come back.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <set>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "test/bench/scheduler_process.h"
#include "test/faults/soak_faults.h"
#include "test/faults/soak_keepers.h"
#include "test/faults/soak_ledgers.h"
#include "test/faults/soak_traffic.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr double kMostSlopeMibPerHour = 20;  // over a soak long enough to tell
constexpr double kLongEnoughMinutes = 10;
constexpr int kTrafficThreads = 8;

struct Options {
  double minutes = 30;
  unsigned seed = 1;
  std::size_t alive = 2500;
  double check_every_s = 20;
};

/// Memory and descriptors over time.
class Figures {
 public:
  void Add(double minutes, double rss, int descriptors) {
    points_.push_back({minutes, rss});
    descriptors_.push_back(descriptors);
  }
  /// MiB an hour, by least squares over the second half: the first fills caches.
  double Slope() const {
    const std::vector<Point> half(points_.begin() + static_cast<std::ptrdiff_t>(points_.size() / 2), points_.end());
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (const auto& [minutes, rss] : half) ++n, x += minutes, y += rss, xx += minutes * minutes, xy += minutes * rss;
    const double below = n * xx - x * x;
    return below <= 0 ? 0 : 60 * (n * xy - x * y) / below;
  }
  double first_rss() const { return points_.front().rss; }
  double last_rss() const { return points_.back().rss; }
  int first_descriptors() const { return descriptors_.front(); }
  int last_descriptors() const { return descriptors_.back(); }
  int most_descriptors() const { return *std::max_element(descriptors_.begin(), descriptors_.end()); }
  bool empty() const { return points_.empty(); }

 private:
  struct Point {
    double minutes, rss;
  };
  std::vector<Point> points_;
  std::vector<int> descriptors_;
};

class Soak {
 public:
  explicit Soak(const Options& options) : options_(options), began_(steady_clock::now()) {
    AddSoakNodes(api_);
    scheduler_ = std::make_unique<bench::SchedulerProcess>(api_.url(), folder_.path());
    scheduler_->WaitReady();
    faults_ = std::make_unique<SoakFaults>(api_, options.seed);
    keepers_ = std::make_unique<SoakKeepers>(api_, options.seed);
    traffic_ = std::make_unique<SoakTraffic>(api_, scheduler_->port(), kTrafficThreads, options.alive, options.seed);
  }

  /// Empty when all is well.
  std::string Run() {
    std::string fault;
    while (fault.empty() && Minutes() < options_.minutes) {
      faults_->Storm();
      keepers_->Storm();
      traffic_->Resume();
      std::this_thread::sleep_for(
          std::chrono::duration<double>(std::min(options_.check_every_s, std::max(1.0, (options_.minutes - Minutes()) * 60))));
      fault = Check();
    }
    Report();
    if (fault.empty()) fault = EndAll();
    if (!fault.empty()) KeepEvidence();
    return fault.empty() ? JudgeFigures() : fault;
  }

 private:
  double Minutes() const { return std::chrono::duration<double, std::ratio<60>>(steady_clock::now() - began_).count(); }

  // Faults end first: what is under way can then come to its end.
  std::string Check() {
    faults_->Calm();
    keepers_->Calm();
    traffic_->Pause();
    ++checks_;
    const auto fault = Await(90s, [this](const LedgerView& ledger) { return Unequal(ledger); });
    figures_.Add(Minutes(), scheduler_->process().RssMib(), scheduler_->process().Descriptors());
    if (checks_ % 10 == 0) Progress();
    return fault;
  }

  // What `judge` still has against the ledger when the time is up; empty: nothing, and no device gives more than it has, nor was a quota passed.
  template <class Judge>
  std::string Await(std::chrono::seconds patience, const Judge& judge) {
    std::string fault = "the ledger cannot be read, or binds never end";
    for (const auto until = steady_clock::now() + patience; steady_clock::now() < until; std::this_thread::sleep_for(50ms)) {
      if (!scheduler_->process().running()) return "partage-scheduler has ended; log: " + folder_.path();
      const auto ledger = Ledger(scheduler_->metrics_port());
      if (!ledger || ledger->busy) continue;
      if (const auto doubled = Doubled(Truth(api_)); !doubled.empty()) return doubled;
      if (auto passed = keepers_->fault(); !passed.empty()) return passed;
      if ((fault = judge(*ledger)).empty()) break;
    }
    return fault;
  }

  std::string Unequal(const LedgerView& ledger) const {
    auto difference = Difference(Truth(api_), ledger.bound);
    if (!difference.empty()) return difference;
    const auto counted = Metric(scheduler_->metrics_port(), "partage_quota_used{", "quota=\"fixed\"");
    return counted == ledger.capped ? std::string()
                                    : fmt::format("quotas count {} MiB, the ledger has {} MiB in their namespace", counted, ledger.capped);
  }

  void KeepEvidence() {
    folder_.Keep();
    folder_.Write("state.json", LedgerText(scheduler_->metrics_port()).value_or("no answer"));
    std::cout << fmt::format("soak: the scheduler's log and its state are in {}\n", folder_.path());
  }

  // When all pods are gone, nobody holds anything, or is promised anything.
  std::string EndAll() {
    const auto page = api_.store().List(Kind::kPods, {}, 0, {}, 0);
    for (const auto& object : page->objects) {
      const auto metadata = object->ToJson()["metadata"];
      (void)api_.Remove(Kind::kPods, fmt::format("{}/{}", metadata["namespace"].get<std::string>(), metadata["name"].get<std::string>()));
    }
    return Await(30s, [this](const LedgerView& ledger) {
      if (ledger.promised > 0) return fmt::format("{} shares are promised to pods that are gone", ledger.promised);
      return Unequal(ledger);
    });
  }

  void Progress() const {
    std::cerr << fmt::format("  {:5.1f} min: {} pods, {} bound, {} cycles failed, rss {:.1f} MiB, {} descriptors\n", Minutes(),
                             traffic_->submitted(), traffic_->bound(), traffic_->failed(), figures_.last_rss(),
                             figures_.last_descriptors());
  }

  std::int64_t Counted(const char* counter, const char* label = "") const {
    return std::max<std::int64_t>(0, Metric(scheduler_->metrics_port(), counter, label));  // one that never counted is not there
  }

  void Report() const {
    for (const auto& [what, times] : faults_->counts()) std::cout << fmt::format("{:36} {:8}\n", what, times);
    if (figures_.empty()) return;
    std::cout << fmt::format("soak: {:.1f} minutes, seed {}, {} pods, {} bound, {} failed cycles, {} checks of the ledger\n", Minutes(),
                             options_.seed, traffic_->submitted(), traffic_->bound(), traffic_->failed(), checks_);
    std::cout << fmt::format(
        "soak: {} pods preempted, {} pods of some priority bound after waiting, {} ended by kubelets, {} changes of quotas and budgets\n",
        Counted("partage_preemption_victims_total"), traffic_->bound_later(), keepers_->ended(), keepers_->changes());
    for (const char* outcome : {"evicting", "coming_free", "nobody", "protected", "lost", "failed"})
      std::cout << fmt::format("preemption: {:24} {:8}\n", outcome, Counted("partage_preemption_attempts_total{", outcome));
    std::cout << fmt::format("soak: rss {:.1f} -> {:.1f} MiB, slope of the second half {:+.1f} MiB/h; descriptors {} -> {}, at most {}\n",
                             figures_.first_rss(), figures_.last_rss(), figures_.Slope(), figures_.first_descriptors(),
                             figures_.last_descriptors(), figures_.most_descriptors());
  }

  // Connections to the API server and of the traffic come and go: a leak is what exceeds all of them together.
  std::string JudgeFigures() const {
    if (figures_.last_descriptors() > figures_.first_descriptors() + 64) return "descriptors leak";
    if (Minutes() > kLongEnoughMinutes && figures_.Slope() > kMostSlopeMibPerHour) return "memory grows";
    return {};
  }

  const Options options_;
  const steady_clock::time_point began_;
  TempFolder folder_;
  FakeApiServer api_;
  std::unique_ptr<bench::SchedulerProcess> scheduler_;
  std::unique_ptr<SoakFaults> faults_;
  std::unique_ptr<SoakKeepers> keepers_;
  std::unique_ptr<SoakTraffic> traffic_;
  Figures figures_;
  int checks_ = 0;
};

}  // namespace
}  // namespace partage::test

int main(int argc, char** argv) {
  CLI::App app("Soak test of partage-scheduler");
  partage::test::Options options;
  app.add_option("--minutes", options.minutes, "How long");
  app.add_option("--seed", options.seed, "Of traffic and faults");
  app.add_option("--pods", options.alive, "Pods alive at a time");
  app.add_option("--check-every", options.check_every_s, "Seconds between two checks of the ledger");
  CLI11_PARSE(app, argc, argv);
  const auto fault = partage::test::Soak(options).Run();
  std::cout << (fault.empty() ? "soak: drift 0" : "soak: FAULT: " + fault) << std::endl;
  return fault.empty() ? 0 : 1;
}
