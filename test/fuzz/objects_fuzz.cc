// SPDX-License-Identifier: Apache-2.0
// Pods, nodes, and the lists and watches they come in.
#include <algorithm>
#include <string>

#include "base/check.h"
#include "k8s/api/decode.h"
#include "k8s/informer/frame_reader.h"
#include "k8s/informer/list_page.h"
#include "scheduler/engine/engine.h"
#include "scheduler/state/feed.h"
#include "scheduler/state/quota_feed.h"
#include "test/fuzz/fuzz.h"

namespace partage::fuzz {
namespace {

const vendors::Catalog& Vendors() {
  static const vendors::Catalog catalog = vendors::Catalog::Embedded();
  return catalog;
}

void CheckPod(const k8s::Pod& pod) {
  const auto seen = scheduler::Observe(pod, Vendors());
  PARTAGE_CHECK(seen.usage.empty() || seen.allocation_error.empty(), "what cannot be read takes nothing in particular");
  PARTAGE_CHECK(!pod.node_name.empty() || (seen.usage.empty() && seen.allocation_error.empty()), "a pod that is not bound takes nothing");
  const auto input = scheduler::ToParserInput(pod);
  const auto request = Vendors().Parse(input, {{"binpack", "spread"}, {"binpack", "spread", "numa"}});
  if (!request) return;
  const auto asks = [](const auto& container) { return !container.devices.empty(); };
  PARTAGE_CHECK(Vendors().Wants(input) || std::none_of(request->containers.begin(), request->containers.end(), asks),
                "a pod that wants nothing asks for nothing");
}

void CheckNode(const k8s::Node& node) {
  const auto seen = scheduler::Observe(node, Vendors());
  PARTAGE_CHECK(seen.inventory_error.empty() || seen.inventory.devices.empty(), "an inventory is read whole or not at all");
}

const Registered kPod("pod", [](std::string_view input) {
  if (const auto pod = k8s::DecodePodText(input)) CheckPod(*pod);
});

const Registered kNode("node", [](std::string_view input) {
  if (const auto node = k8s::DecodeNodeText(input)) CheckNode(*node);
});

const Registered kQuota("quota", [](std::string_view input) {
  const auto quota = k8s::DecodeResourceQuotaText(input);
  if (!quota) return;
  const auto seen = scheduler::Observe(*quota, Vendors());
  const bool sound = std::all_of(seen.limits.begin(), seen.limits.end(), [](const auto& limit) { return limit.most >= 0; });
  PARTAGE_CHECK(sound, "a limit is never negative");
});

// The frames of a watch, as far as they are sound.
std::vector<std::string> Frames(std::string_view input, std::size_t piece) {
  std::vector<std::string> frames;
  k8s::FrameReader reader;
  const auto take = [&](const k8s::Frame& frame) {
    frames.push_back(std::string(frame.type) + simdjson::minify(frame.object));
    return true;
  };
  for (; !input.empty(); input.remove_prefix(std::min(piece, input.size()))) {
    if (!reader.Feed(input.substr(0, piece), take)) break;
  }
  return frames;
}

const Registered kWatch("watch", [](std::string_view input) {
  const auto whole = Frames(input, input.size() + 1);
  PARTAGE_CHECK(whole == Frames(input, 1) && whole == Frames(input, 7), "frames are the same however the bytes were cut");
});

const Registered kList("list", [](std::string_view input) {
  k8s::ListPage page;
  if (!page.Parse(std::string(input))) return;
  page.ForEachItem([](simdjson::dom::element item) {
    if (const auto pod = k8s::DecodePod(item)) CheckPod(*pod);
    if (const auto node = k8s::DecodeNode(item)) CheckNode(*node);
  });
});

}  // namespace
}  // namespace partage::fuzz
