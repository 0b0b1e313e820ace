// SPDX-License-Identifier: Apache-2.0
#include "test/faults/soak_ledgers.h"

#include <sstream>

#include <fmt/format.h>

#include "cli/http.h"
#include "cli/state_view.h"
#include "device/allocation_codec.h"
#include "k8s/api/decode.h"
#include "test/faults/soak_traffic.h"

namespace partage::test {
namespace {

std::optional<std::string> Page(std::uint16_t port, const char* path) {
  auto body = cli::GetBody(fmt::format("http://127.0.0.1:{}", port), path, path);
  return body ? std::optional(*std::move(body)) : std::nullopt;
}

void Add(const cli::PodState& pod, LedgerView& view) {
  const bool bound = pod.state == "bound", promised = pod.state == "nominal" || pod.state == "claimed";
  view.promised += promised;
  view.busy = view.busy || (!bound && !promised);
  for (const auto& share : pod.shares) {
    if (bound) view.bound[pod.uid + " " + share.uuid] += share.mib;
    if (pod.ns == kSoakCapped) view.capped += share.mib;
  }
}

}  // namespace

Held Truth(const FakeApiServer& api, const std::string& ns, const std::string& priority_class) {
  Held held;
  const auto page = api.store().List(Kind::kPods, {.ns = ns, .name = {}, .node = {}, .unfinished = true}, 0, {}, 0);
  for (const auto& object : page->objects) {
    std::string text;
    object->AppendTo(text);
    const auto pod = k8s::DecodePodText(text).value();
    const auto found = pod.annotations.find(device::kAllocationAnnotation);
    if (pod.node_name.empty() || found == pod.annotations.end()) continue;
    if (!priority_class.empty() && pod.priority_class != priority_class) continue;
    for (const auto& [uuid, use] : device::CollapseUsage(device::DecodeAllocation(found->second).value()))
      held[pod.uid + " " + uuid] += use.mib;
  }
  return held;
}

std::optional<std::string> LedgerText(std::uint16_t metrics_port) { return Page(metrics_port, "/debug/state"); }

std::optional<LedgerView> Ledger(std::uint16_t metrics_port) {
  const auto body = LedgerText(metrics_port);
  if (!body) return std::nullopt;
  LedgerView view;
  const auto state = cli::ParseState(*body).value();
  for (const auto& node : state.nodes) {
    for (const auto& pod : node.pods) Add(pod, view);
  }
  return view;
}

std::int64_t Metric(std::uint16_t metrics_port, const std::string& name, const std::string& label) {
  std::istringstream lines(Page(metrics_port, "/metrics").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name) && line.find(label) != line.npos)
      return static_cast<std::int64_t>(std::stod(line.substr(line.rfind(' ') + 1)));
  }
  return -1;
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

std::string Doubled(const Held& truth) {
  std::map<std::string, std::int64_t> devices;
  for (const auto& [what, mib] : truth) devices[what.substr(what.find(' ') + 1)] += mib;
  for (const auto& [uuid, mib] : devices) {
    if (mib > kSoakGpuMib) return fmt::format("{} MiB are given away of {}", mib, uuid);
  }
  return {};
}

}  // namespace partage::test
