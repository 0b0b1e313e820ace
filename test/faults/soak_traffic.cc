// SPDX-License-Identifier: Apache-2.0
#include "test/faults/soak_traffic.h"

#include <deque>
#include <optional>

#include <fmt/format.h>

#include "cli/scheduling_cycle.h"

namespace partage::test {

namespace {

std::string DeviceText(int node, int gpu) {
  return fmt::format(R"({}{{\"uuid\":\"GPU-{}-{}\",\"model\":\"NVIDIA A100\",\"memoryMiB\":{}}})", gpu == 0 ? "" : ",", node, gpu,
                     kSoakGpuMib);
}

std::vector<std::string> NodeNames() {
  std::vector<std::string> names;
  for (int node = 0; node < kSoakNodes; ++node) names.push_back(fmt::format("node-{}", node));
  return names;
}

}  // namespace

void AddSoakNodes(FakeApiServer& api) {
  for (int node = 0; node < kSoakNodes; ++node) {
    std::string devices;
    for (int gpu = 0; gpu < kSoakGpus; ++gpu) devices += DeviceText(node, gpu);
    api.Put(
        Kind::kNodes,
        fmt::format(R"({{"metadata":{{"name":"node-{}","annotations":{{"partage.dev/inventory":"{{\"version\":1,\"devices\":[{}]}}"}}}}}})",
                    node, devices));
  }
}

/// One thread's pods and dice.
class SoakWorker {
 public:
  SoakWorker(FakeApiServer& api, std::uint16_t port, unsigned seed)
      : api_(api), dice_(seed), name_(seed), extender_(cli::HttpClient::Make(fmt::format("http://127.0.0.1:{}", port)).value()) {}

  std::size_t alive() const { return alive_.size(); }

  void EndOne() {
    const auto key = alive_.front();
    alive_.pop_front();
    if (dice_() % 2 == 0) return (void)api_.Remove(Kind::kPods, key);
    (void)api_.Patch(Kind::kPods, key, {{"status", {{"phase", "Succeeded"}}}});
    finished_.push_back(key);
    if (finished_.size() < 20) return;
    (void)api_.Remove(Kind::kPods, finished_.front());
    finished_.pop_front();
  }

  cli::ManifestPod Submit() {
    const auto name = fmt::format("w{}-{}", name_, ++serial_);
    const auto uid = fmt::format("{:08x}-0000-4000-8000-{:012x}", name_, serial_);
    const std::string ns = OneIn(3) ? kSoakCapped : "soak";
    const auto json = fmt::format(
        R"({{"metadata":{{"uid":"{}","name":"{}","namespace":"{}"{}}},"spec":{{{}"containers":[{{"name":"c","resources":{{"limits":{{"nvidia.com/gpu":"{}","nvidia.com/gpumem":"{}"}}}}}}]}}}})",
        uid, name, ns, OneIn(8) ? R"(,"labels":{"app":"guarded"})" : "", PriorityText(), 1 + dice_() % 2, 500 * (1 + dice_() % 12));
    api_.Put(Kind::kPods, json);
    alive_.push_back(ns + "/" + name);
    return {.ns = ns, .name = name, .uid = uid, .asked = {}, .json = json};
  }

  /// True when the pod is said to be bound; as kube-scheduler, it tries again a few times where something failed.
  bool Schedule(const cli::ManifestPod& pod, std::atomic<std::uint64_t>& failed) {
    static const auto nodes = NodeNames();
    for (int tries = 0; tries < 3; ++tries) {
      const auto outcome = cli::Schedule(extender_, pod, nodes);
      if (outcome && !outcome->node.empty()) return Start(pod), true;
      if (outcome && outcome->error.empty()) break;
      ++failed;
    }
    if (pod.json.find("\"priority\"") != pod.json.npos) waiting_.push_back(pod);
    return false;
  }

  /// A pod that waits; nullopt where none does, or it is not its turn.
  std::optional<cli::ManifestPod> TakeWaiting() {
    if (waiting_.empty() || !OneIn(waiting_.size() > kMostWaiting ? 1 : 4)) return std::nullopt;
    auto pod = std::move(waiting_.front());
    waiting_.pop_front();
    if (waiting_.size() > kMostWaiting || !api_.Get(Kind::kPods, pod.ns + "/" + pod.name)) return std::nullopt;
    return pod;
  }

 private:
  static constexpr std::size_t kMostWaiting = 16;

  bool OneIn(unsigned n) { return dice_() % n == 0; }

  std::string PriorityText() {
    switch (dice_() % 20) {
      case 0: return fmt::format(R"("priority":100,"priorityClassName":"{}",)", kSoakUrgent);
      case 1: return R"("priority":100,"preemptionPolicy":"Never",)";
      case 2:
      case 3:
      case 4: return R"("priority":10,)";
      default: return "";
    }
  }

  // Only pods that run are asked whether a budget protects them.
  void Start(const cli::ManifestPod& pod) {
    if (pod.json.find(kSoakGuarded) != pod.json.npos) {
      (void)api_.Patch(Kind::kPods, pod.ns + "/" + pod.name, {{"status", {{"phase", "Running"}}}});
    }
  }

  FakeApiServer& api_;
  std::mt19937 dice_;
  const unsigned name_;
  cli::HttpClient extender_;
  std::uint64_t serial_ = 0;
  std::deque<std::string> alive_, finished_;
  std::deque<cli::ManifestPod> waiting_;
};

SoakTraffic::SoakTraffic(FakeApiServer& api, std::uint16_t extender_port, int threads, std::size_t alive, unsigned seed)
    : api_(api), port_(extender_port), alive_(alive / static_cast<std::size_t>(threads)) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, own = seed * 1000 + static_cast<unsigned>(i)](const std::stop_token& stop) { Run(stop, own); });
  }
}

SoakTraffic::~SoakTraffic() {
  for (auto& thread : threads_) thread.request_stop();
  Resume();
}

void SoakTraffic::Pause() {
  const MutexLock lock(mutex_);
  paused_ = true;
  while (running_ > 0) changed_.wait(mutex_);
}

void SoakTraffic::Resume() {
  const MutexLock lock(mutex_);
  paused_ = false;
  changed_.notify_all();
}

void SoakTraffic::Run(const std::stop_token& stop, unsigned seed) {
  SoakWorker worker(api_, port_, seed);
  while (!stop.stop_requested()) {
    {
      const MutexLock lock(mutex_);
      while (paused_) changed_.wait(mutex_);
      ++running_;
    }
    Turn(worker);
    const MutexLock lock(mutex_);
    --running_;
    changed_.notify_all();
  }
}

void SoakTraffic::Turn(SoakWorker& worker) {
  if (const auto waiting = worker.TakeWaiting()) {
    const bool bound = worker.Schedule(*waiting, failed_);
    bound_ += bound, bound_later_ += bound;
    return;
  }
  while (worker.alive() >= alive_) worker.EndOne();
  ++submitted_;
  bound_ += worker.Schedule(worker.Submit(), failed_);
}

}  // namespace partage::test
