// SPDX-License-Identifier: Apache-2.0
#include "test/bench/churner.h"

#include <chrono>
#include <numeric>

namespace partage::bench {
namespace {

using std::chrono::steady_clock;
using test::Kind;

double SecondsSince(steady_clock::time_point then) { return std::chrono::duration<double>(steady_clock::now() - then).count(); }

}  // namespace

Churner::Churner(test::FakeApiServer& api, const Fleet& fleet) : api_(api), fleet_(fleet) {
  std::vector<int> pods(static_cast<std::size_t>(fleet.pods_per_node));
  std::iota(pods.begin(), pods.end(), 0);
  alive_.assign(static_cast<std::size_t>(fleet.nodes), pods);
}

double Churner::SetRate(int per_second) {
  thread_ = {};
  const double rate = (beat_ - beat_then_) / SecondsSince(rate_since_);
  beat_then_ = beat_;
  rate_since_ = steady_clock::now();
  if (per_second > 0) thread_ = std::jthread([this, per_second](const std::stop_token& stop) { Run(stop, per_second); });
  return rate;
}

void Churner::Run(const std::stop_token& stop, int per_second) {
  while (!stop.stop_requested()) {
    for (const double due = SecondsSince(rate_since_) * per_second; beat_ - beat_then_ < due;) ChangeSomething();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

void Churner::ChangeSomething() {
  ++beat_;
  if (beat_ % 5 == 1) return EndPod();
  if (beat_ % 5 == 2) return StartPod();
  const auto [node, pod] = SomePod();
  if (beat_ % 10 == 0) {
    api_.Put(Kind::kNodes, fleet_.NodeText(node, beat_));
  } else {
    api_.Put(Kind::kPods, fleet_.BoundPodText(node, pod, beat_));
  }
}

Churner::Place Churner::SomePod() {
  while (true) {
    const std::size_t node = dice_() % alive_.size();
    if (alive_[node].empty()) continue;
    return {static_cast<int>(node), alive_[node][dice_() % alive_[node].size()]};
  }
}

// A pod whose number is a multiple of the cards higher has the same share, and is another pod.
void Churner::EndPod() {
  const auto [node, pod] = SomePod();
  api_.Remove(Kind::kPods, fleet_.BoundPodKey(node, pod));
  std::erase(alive_[static_cast<std::size_t>(node)], pod);
  const int generations = (fleet_.pods_per_node + kGpusPerNode - 1) / kGpusPerNode;
  successors_.push_back({node, pod + generations * kGpusPerNode});
}

void Churner::StartPod() {
  const auto [node, pod] = successors_.front();
  successors_.pop_front();
  api_.Put(Kind::kPods, fleet_.BoundPodText(node, pod, beat_));
  alive_[static_cast<std::size_t>(node)].push_back(pod);
}

}  // namespace partage::bench
