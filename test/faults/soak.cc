// SPDX-License-Identifier: Apache-2.0
// partage-soak: the real partage-scheduler against the fake API server, pods that come and go by the thousand, and random faults, for as long as one likes.
// Every while faults and traffic stop, and the scheduler's ledger must come to equal the pods' annotations. Exit status 1 for a difference, a growing
// memory or descriptors that do not come back.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <set>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/http.h"
#include "cli/state_view.h"
#include "device/allocation_codec.h"
#include "k8s/api/decode.h"
#include "test/bench/scheduler_process.h"
#include "test/faults/soak_faults.h"
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
  std::size_t alive = 1000;
  double check_every_s = 20;
};

/// "pod uid device" → MiB.
using Held = std::map<std::string, std::int64_t>;

Held Truth(const FakeApiServer& api) {
  Held held;
  const auto page = api.store().List(Kind::kPods, {.unfinished = true}, 0, {}, 0);
  for (const auto& object : page->objects) {
    std::string text;
    object->AppendTo(text);
    const auto pod = k8s::DecodePodText(text).value();
    const auto found = pod.annotations.find(device::kAllocationAnnotation);
    if (pod.node_name.empty() || found == pod.annotations.end()) continue;
    for (const auto& [uuid, use] : device::CollapseUsage(device::DecodeAllocation(found->second).value()))
      held[pod.uid + " " + uuid] += use.mib;
  }
  return held;
}

/// nullopt while somebody is still at a bind.
std::optional<Held> Ledger(std::uint16_t metrics_port) {
  auto client = cli::HttpClient::Make(fmt::format("http://127.0.0.1:{}", metrics_port)).value();
  const auto body = cli::BodyOf(client.Get("/debug/state"), "state");
  if (!body) return std::nullopt;
  Held held;
  const auto state = cli::ParseState(*body).value();
  for (const auto& node : state.nodes) {
    for (const auto& pod : node.pods) {
      if (pod.state == "nominal") continue;  // ends by itself
      if (pod.state != "bound") return std::nullopt;
      for (const auto& share : pod.shares) held[pod.uid + " " + share.uuid] += share.mib;
    }
  }
  return held;
}

std::string Difference(const Held& truth, const Held& ledger) {
  for (const auto& [what, mib] : truth) {
    const auto found = ledger.find(what);
    if (found == ledger.end() || found->second != mib)
      return fmt::format("pods say {} MiB for {}, the ledger {}", mib, what, found == ledger.end() ? 0 : found->second);
  }
  for (const auto& [what, mib] : ledger) {
    if (!truth.contains(what)) return fmt::format("the ledger holds {} MiB for {}, pods nothing", mib, what);
  }
  return {};
}

/// No device gives more than it has.
std::string Doubled(const Held& truth) {
  std::map<std::string, std::int64_t> devices;
  for (const auto& [what, mib] : truth) devices[what.substr(what.find(' ') + 1)] += mib;
  for (const auto& [uuid, mib] : devices) {
    if (mib > kSoakGpuMib) return fmt::format("{} MiB are given away of {}", mib, uuid);
  }
  return {};
}

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
    traffic_ = std::make_unique<SoakTraffic>(api_, scheduler_->port(), kTrafficThreads, options.alive, options.seed);
  }

  /// Empty when all is well.
  std::string Run() {
    std::string fault;
    while (fault.empty() && Minutes() < options_.minutes) {
      faults_->Storm();
      traffic_->Resume();
      std::this_thread::sleep_for(
          std::chrono::duration<double>(std::min(options_.check_every_s, std::max(1.0, (options_.minutes - Minutes()) * 60))));
      fault = Check();
    }
    Report();
    return fault.empty() ? JudgeFigures() : fault;
  }

 private:
  double Minutes() const { return std::chrono::duration<double, std::ratio<60>>(steady_clock::now() - began_).count(); }

  // Faults end first: what is under way can then come to its end.
  std::string Check() {
    faults_->Calm();
    traffic_->Pause();
    ++checks_;
    std::string difference = "the ledger cannot be read, or binds never end";
    for (const auto until = steady_clock::now() + 90s; steady_clock::now() < until; std::this_thread::sleep_for(50ms)) {
      if (!scheduler_->process().running()) return "partage-scheduler has ended; log: " + folder_.path();
      const auto ledger = Ledger(scheduler_->metrics_port());
      if (!ledger) continue;
      const auto truth = Truth(api_);
      if (const auto doubled = Doubled(truth); !doubled.empty()) return doubled;
      difference = Difference(truth, *ledger);
      if (difference.empty()) break;
    }
    figures_.Add(Minutes(), scheduler_->process().RssMib(), scheduler_->process().Descriptors());
    if (checks_ % 10 == 0) Progress();
    return difference;
  }

  void Progress() const {
    std::cerr << fmt::format("  {:5.1f} min: {} pods, {} bound, {} cycles failed, rss {:.1f} MiB, {} descriptors\n", Minutes(),
                             traffic_->submitted(), traffic_->bound(), traffic_->failed(), figures_.last_rss(),
                             figures_.last_descriptors());
  }

  void Report() const {
    for (const auto& [what, times] : faults_->counts()) std::cout << fmt::format("{:36} {:8}\n", what, times);
    if (figures_.empty()) return;
    std::cout << fmt::format("soak: {:.1f} minutes, seed {}, {} pods, {} bound, {} failed cycles, {} checks of the ledger\n", Minutes(),
                             options_.seed, traffic_->submitted(), traffic_->bound(), traffic_->failed(), checks_);
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
