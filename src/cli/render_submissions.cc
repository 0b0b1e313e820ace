// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "cli/render.h"

namespace partage::cli {
namespace {

constexpr std::size_t kNodesNamed = 3;

/// A pod's shares with the devices they are of.
struct Given {
  std::vector<std::pair<ShareState, DeviceState>> shares;
};

void Collect(const NodeState& node, const PodState& pod, Given& given) {
  for (const ShareState& share : pod.shares) {
    for (const DeviceState& device : node.devices) {
      if (device.uuid == share.uuid) given.shares.emplace_back(share, device);
    }
  }
}

Given FindGiven(const ClusterState& state, const Submission& submission) {
  Given given;
  for (const NodeState& node : state.nodes) {
    if (node.name != submission.outcome.node) continue;
    for (const PodState& pod : node.pods) {
      if (pod.uid == submission.pod.uid) Collect(node, pod, given);
    }
  }
  std::sort(given.shares.begin(), given.shares.end(), [](const auto& a, const auto& b) { return a.second.index < b.second.index; });
  return given;
}

/// The different texts of all shares, in order: "0,1,2", or one when all say the same.
template <class Describe>
std::string Join(const Given& given, const char* separator, const Describe& describe) {
  std::string text;
  std::set<std::string> said;
  for (const auto& [share, device] : given.shares) {
    const std::string one = describe(share, device);
    if (said.insert(one).second) text += (text.empty() ? "" : separator) + one;
  }
  return text;
}

std::string Cores(const ShareState& share) { return share.exclusive ? "exclusive" : fmt::format("{} %", share.cores); }

std::string Named(const std::vector<std::string>& nodes) {
  std::vector<std::string> first(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(std::min(nodes.size(), kNodesNamed)));
  std::string text = Printable(fmt::format("{}", fmt::join(first, ", ")));
  return nodes.size() > kNodesNamed ? fmt::format("{} and {} more", text, nodes.size() - kNodesNamed) : text;
}

void AddBound(const Submission& submission, const ClusterState& state, TextTable& table) {
  const Given given = FindGiven(state, submission);
  table.Add({{submission.pod.ns + "/" + submission.pod.name, Tone::kStrong},
             {submission.pod.asked},
             {submission.outcome.node},
             {Join(given, ",", [](const auto&, const auto& device) { return std::to_string(device.index); }), Tone::kStrong},
             {Join(given, ", ", [](const auto&, const auto& device) { return Printable(device.model); })},
             {Join(given, ", ", [](const auto& share, const auto&) { return HumanMib(share.mib); })},
             {Join(given, ", ", [](const auto& share, const auto&) { return Cores(share); })},
             {"bound", Tone::kGood}});
}

void AddRefused(const Submission& submission, TextTable& table) {
  table.Add({{submission.pod.ns + "/" + submission.pod.name, Tone::kStrong},
             {submission.pod.asked},
             {"-"},
             {"-"},
             {},
             {},
             {},
             {"refused", Tone::kBad}});
  const CycleOutcome& outcome = submission.outcome;
  if (!outcome.error.empty()) table.AddNote({"    " + Printable(outcome.error), Tone::kWarn});
  for (const auto& [reason, nodes] : outcome.refusals)
    table.AddNote({fmt::format("    {}: {}", Named(nodes), Printable(reason)), Tone::kWarn});
}

}  // namespace

std::string RenderSubmissions(const std::vector<Submission>& submissions, const ClusterState& state, const Painter& painter) {
  TextTable table({"POD", "ASKED FOR", "NODE", "GPU", "MODEL", "MEMORY", "CORES", "RESULT"});
  for (const Submission& submission : submissions) {
    submission.outcome.node.empty() ? AddRefused(submission, table) : AddBound(submission, state, table);
  }
  return table.Render(painter);
}

}  // namespace partage::cli
