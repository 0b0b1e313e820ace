// SPDX-License-Identifier: Apache-2.0
#include "test/bench/filter_body.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/check.h"

namespace partage::bench {

namespace {

constexpr int kZones = 3;   // kube-scheduler lists nodes of its zones in turn
constexpr int kAtOnce = 4;  // of its workers, as many as have a core
constexpr int kWorkers = 16;

// Sizes of the pieces that kube-scheduler's workers take: workqueue's chunkSizeFor.
int PieceSize(int nodes) { return std::max(1, std::min(static_cast<int>(std::sqrt(nodes)), nodes / kWorkers + 1)); }

// Node after node, zone by zone in turn, as kube-scheduler's cache lists them.
std::vector<int> ListedOrder(int nodes) {
  std::vector<int> order;
  for (int row = 0; row * kZones < nodes; ++row) {
    for (int zone = 0; zone < kZones; ++zone) {
      const int node = zone * ((nodes + kZones - 1) / kZones) + row;
      if (node < nodes) order.push_back(node);
    }
  }
  return order;
}

// As several workers finish them: each goes through its piece in order, whose turn it is is chance.
std::vector<int> AsWorkersFinish(const std::vector<int>& nodes, std::mt19937_64& random) {
  const auto piece = static_cast<std::size_t>(PieceSize(static_cast<int>(nodes.size())));
  std::vector<std::pair<std::size_t, std::size_t>> open;  // of each worker: next and end
  std::size_t given = 0;
  std::vector<int> finished;
  while (finished.size() < nodes.size()) {
    while (open.size() < kAtOnce && given < nodes.size()) {
      const std::size_t end = std::min(given + piece, nodes.size());
      open.emplace_back(given, end);
      given = end;
    }
    auto& worker = open[random() % open.size()];
    finished.push_back(nodes[worker.first++]);
    if (worker.first == worker.second) open.erase(open.begin() + (&worker - open.data()));
  }
  return finished;
}

}  // namespace

std::vector<std::string> Candidates(const Fleet& fleet, int count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  auto order = ListedOrder(fleet.nodes);
  std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(random() % order.size()), order.end());
  order.resize(static_cast<std::size_t>(count));
  std::vector<std::string> names;
  for (const int node : AsWorkersFinish(order, random)) names.push_back(fleet.NodeName(node));
  return names;
}

FilterBody::FilterBody(int form, const std::vector<std::string>& candidates) : form_(form) {
  const PendingPod pod{0, form};
  text_ = R"({"Pod":)" + pod.Text() + R"(,"Nodes":null,"NodeNames":[)";
  for (const auto& name : candidates) text_ += '"' + name + "\",";
  if (!candidates.empty()) text_.pop_back();
  text_ += "]}\n";
  name_at_ = text_.find(pod.Name());
  uid_at_ = text_.find(pod.Uid());
}

const std::string& FilterBody::For(int serial) {
  const PendingPod pod{serial, form_};
  Overwrite(name_at_, pod.Name());
  Overwrite(uid_at_, pod.Uid());
  return text_;
}

void FilterBody::Overwrite(std::size_t at, const std::string& text) {
  PARTAGE_CHECK(at + text.size() <= text_.size(), "the pod's name and UID stand in the body");
  text_.replace(at, text.size(), text);
}

}  // namespace partage::bench
