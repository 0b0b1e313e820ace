// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cli/render.h"

namespace partage::cli {
namespace {

using nlohmann::json;

std::string Text(const json& object, const char* key) { return Printable(object.at(key).get<std::string>()); }

std::string Nodes(std::int64_t count) { return fmt::format("{} node{}", count, count == 1 ? "" : "s"); }

std::string Amount(const json& item) {
  const bool mib = item.contains("memoryMiB");
  return fmt::format("{}: {} × {}{}, {} % compute", Text(item, "container"), item.at("count").get<int>(),
                     mib ? HumanMib(item.at("memoryMiB").get<std::int64_t>()) : fmt::format("{} %", item.at("memoryPercent").get<int>()),
                     mib ? "" : " of the card's memory", item.at("cores").get<int>());
}

std::string ChangeText(const json& change) {
  const std::string what = Text(change, "what");
  if (what == "constraints") return "accept any card: without the UUID, type, mode and NUMA annotations it fits";
  return fmt::format("{}: {} {} instead of {}", Text(change, "container"), what, change.at("to").get<std::int64_t>(),
                     change.at("from").get<std::int64_t>());
}

std::string RenderWaiting(const json& pod, const Painter& painter) {
  std::string out = fmt::format("{} waits\n", painter.Paint(Tone::kStrong, Text(pod, "pod")));
  for (const json& item : pod.at("request")) out += fmt::format("  asks     {}\n", Amount(item));
  if (pod.contains("quota")) {
    out += fmt::format("  {}     {}\n", painter.Paint(Tone::kBad, "quota"), Text(pod.at("quota"), "reason"));
    for (const json& limit : pod.at("quota").at("limits")) {
      out += fmt::format("           {} {}: {} of {} taken\n", Text(limit, "quota"), Text(limit, "key"),
                         limit.at("used").get<std::int64_t>(), limit.at("limit").get<std::int64_t>());
    }
  }
  if (const auto fits = pod.at("fits").at("nodes").get<std::int64_t>(); fits > 0) {
    out += fmt::format("  {}  {} now, among them {}\n", painter.Paint(Tone::kGood, "fits on"), Nodes(fits),
                       fmt::join(pod.at("fits").at("first").get<std::vector<std::string>>(), ", "));
  }
  for (const json& group : pod.at("refused")) {
    out += fmt::format("  {}  {}: {}\n", painter.Paint(Tone::kBad, "refused"), Nodes(group.at("nodes").get<std::int64_t>()),
                       Text(group, "reason"));
  }
  if (pod.contains("nearest")) out += fmt::format("  nearest  {}\n", Text(pod.at("nearest"), "reason"));
  for (const json& change : pod.at("changes")) out += fmt::format("  {}    {}\n", painter.Paint(Tone::kGood, "would"), ChangeText(change));
  return out;
}

std::string RenderPlaced(const json& pod, const Painter& painter) {
  std::string out = fmt::format("{} is {} on {}\n", painter.Paint(Tone::kStrong, Text(pod, "pod")), Text(pod, "state"), Text(pod, "node"));
  for (const json& device : pod.at("devices")) {
    out += fmt::format("  holds    {} of {}, {} % compute\n", HumanMib(device.at("memoryMiB").get<std::int64_t>()), Text(device, "uuid"),
                       device.at("cores").get<std::int64_t>());
  }
  if (!pod.contains("decision")) return out + "  decided  by an earlier run of the scheduler, or long ago\n";
  const json& decision = pod.at("decision");
  return out + fmt::format("  decided  {} ranked {} first of {} candidates (score {:.3f}); its cards by {}\n", Text(decision, "nodePolicy"),
                           Text(decision, "node"), decision.at("candidates").get<std::int64_t>(), decision.at("score").get<double>(),
                           fmt::join(decision.at("devicePolicies").get<std::vector<std::string>>(), ", "));
}

}  // namespace

Result<std::string> RenderExplanation(std::string_view body, const Painter& painter) {
  try {
    const json pod = json::parse(body);
    return pod.at("state") == "waiting" ? RenderWaiting(pod, painter) : RenderPlaced(pod, painter);
  } catch (const json::exception& error) {
    return Fail(Code::kInvalid, "the scheduler's explanation cannot be read: {}", error.what());
  }
}

}  // namespace partage::cli
