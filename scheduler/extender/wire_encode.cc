// SPDX-License-Identifier: Apache-2.0
// Appended by hand: a refusal by 15,000 nodes is a megabyte that kube-scheduler waits for.
#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "scheduler/extender/json_text.h"
#include "scheduler/extender/wire.h"

namespace partage::scheduler {
namespace {

// Room for quotes, comma and colon around a name.
constexpr std::size_t kPunctuation = 8;

// A text for people. kube-scheduler takes it for a printf format when it writes the event, so a percent sign must not look like one.
std::string Quoted(std::string_view text) {
  constexpr std::string_view kWidePercent = "\uFF05";
  std::string harmless;
  for (const char c : text) harmless.append(c == '%' ? kWidePercent : std::string_view(&c, 1));
  std::string out;
  AppendJsonString(out, harmless);
  return out;
}

std::size_t TextSize(std::span<const std::string_view> texts) {
  std::size_t size = 0;
  for (const std::string_view text : texts) size += text.size() + kPunctuation;
  return size;
}

void AppendNames(std::string& out, std::span<const std::string_view> names) {
  out.reserve(out.size() + TextSize(names) + 128);
  out += '[';
  for (const std::string_view name : names) {
    AppendJsonString(out, name);
    out += ',';
  }
  if (names.empty()) {
    out += ']';
  } else {
    out.back() = ']';
  }
}

// A NodeList of nodes exactly as they came.
void AppendNodes(std::string& out, std::span<const std::string_view> nodes) {
  out.reserve(out.size() + TextSize(nodes) + 128);
  out += R"({"metadata":{},"items":[)";
  for (const std::string_view node : nodes) {
    if (out.back() != '[') out += ',';
    out += node;
  }
  out += "]}";
}

void AppendRefusals(std::string& out, const FilterOutcome& outcome, std::span<const std::string> quoted_texts, bool unresolvable) {
  out += '{';
  for (const Refusal& refusal : outcome.refusals) {
    if (refusal.unresolvable != unresolvable) continue;
    if (out.back() != '{') out += ',';
    AppendJsonString(out, refusal.node);
    out += ':';
    out += quoted_texts[refusal.text];
  }
  out += '}';
}

std::size_t RefusalsSize(const FilterOutcome& outcome, std::span<const std::string> quoted_texts) {
  std::size_t size = 0;
  for (const Refusal& refusal : outcome.refusals) size += refusal.node.size() + quoted_texts[refusal.text].size() + kPunctuation;
  return size;
}

std::vector<std::string_view> NodesOf(const ExtenderArgs& args, std::span<const std::string_view> names) {
  std::vector<std::string_view> nodes;
  for (const std::string_view name : names) {
    const auto found = std::find(args.names.begin(), args.names.end(), name);
    PARTAGE_CHECK(found != args.names.end(), "the engine passes candidates only");
    nodes.push_back(args.nodes[static_cast<std::size_t>(found - args.names.begin())]);
  }
  return nodes;
}

// `"Nodes":…,"NodeNames":…`, in the form the candidates came in.
void AppendPassing(std::string& out, bool whole_nodes, std::span<const std::string_view> names, std::span<const std::string_view> nodes) {
  if (whole_nodes) {
    out += R"("Nodes":)";
    AppendNodes(out, nodes);
    out += R"(,"NodeNames":null)";
  } else {
    out += R"("Nodes":null,"NodeNames":)";
    AppendNames(out, names);
  }
}

}  // namespace

std::string EncodeFilterResult(const ExtenderArgs& args, const FilterOutcome& outcome) {
  std::vector<std::string> quoted_texts;
  quoted_texts.reserve(outcome.texts.size());
  for (const std::string& text : outcome.texts) quoted_texts.push_back(Quoted(text));

  std::string out = "{";
  out.reserve(RefusalsSize(outcome, quoted_texts) + 256);
  AppendPassing(out, args.whole_nodes, outcome.fitting_names,
                args.whole_nodes ? NodesOf(args, outcome.fitting_names) : std::vector<std::string_view>{});
  out += R"(,"FailedNodes":)";
  AppendRefusals(out, outcome, quoted_texts, false);
  out += R"(,"FailedAndUnresolvableNodes":)";
  AppendRefusals(out, outcome, quoted_texts, true);
  out += R"(,"Error":""})";
  return out;
}

std::string EncodeAllPass(const ExtenderArgs& args) {
  std::string out = "{";
  AppendPassing(out, args.whole_nodes, args.names, args.nodes);
  out += R"(,"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""})";
  return out;
}

std::string EncodeFilterError(std::string_view error) {
  return fmt::format(R"({{"Nodes":null,"NodeNames":null,"FailedNodes":{{}},"FailedAndUnresolvableNodes":{{}},"Error":{}}})", Quoted(error));
}

std::string EncodePriorities(std::span<const std::string_view> names, std::span<const int> scores) {
  PARTAGE_CHECK(names.size() == scores.size(), "one score a name");
  std::string out = "[";
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ',';
    out += R"({"Host":)";
    AppendJsonString(out, names[i]);
    fmt::format_to(std::back_inserter(out), R"(,"Score":{}}})", scores[i]);
  }
  out += ']';
  return out;
}

std::string EncodeBindResult(std::string_view error) { return fmt::format(R"({{"Error":{}}})", Quoted(error)); }

std::string EncodeMalformed(std::string_view error) { return fmt::format(R"({{"error":{}}})", Quoted(error)); }

}  // namespace partage::scheduler
