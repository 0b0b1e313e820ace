// SPDX-License-Identifier: Apache-2.0
// kube-scheduler's extender protocol, k8s.io/kube-scheduler/extender/v1, as text. Its types have no JSON tags: members are Go's field names (`Pod`,
// `NodeNames`), and nothing is left out when empty. Like Go we also take members in other letter cases.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "k8s/api/pod.h"
#include "scheduler/engine/engine.h"

namespace partage::scheduler {

/// ExtenderArgs: what /filter and /prioritize are asked about.
struct ExtenderArgs {
  k8s::Pod pod;
  std::vector<std::string_view> names;  ///< the candidates, in the order given
  /// nodeCacheCapable: false. Whole Node objects came instead of names; then `nodes` holds the JSON of each, in the order of `names`.
  bool whole_nodes = false;
  std::vector<std::string_view> nodes;
  /// The names' ids in `index`, where the decoder found them on the way; otherwise both are empty.
  std::vector<NodeId> ids;
  std::shared_ptr<const NodeIndex> index;

  Candidates candidates() const { return {names, ids, index.get()}; }
};

/// Reads ExtenderArgs. Keeps its memory from call to call, since every scheduling cycle makes one or two; what a body over 4 MiB took is freed by the next
/// call. Used by one thread at a time.
class ArgsDecoder {
 public:
  ArgsDecoder();
  ~ArgsDecoder();

  /// The arguments; valid until the next Decode, and only as long as `body`, which they point into. kInvalid says where the body is wrong: not one JSON
  /// object, truncated, followed by more, not UTF-8, a member twice or of the wrong type, no Pod, a Pod without name or uid, neither Nodes nor NodeNames.
  /// Where both are given, NodeNames counts.
  /// With an `index`, names written as Go writes them are looked up while they are read (ExtenderArgs::ids).
  /// REQUIRES: http::kBodyPadding readable bytes after `body`.
  Result<const ExtenderArgs*> Decode(std::string_view body, std::shared_ptr<const NodeIndex> index = nullptr);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// ExtenderBindingArgs.
struct BindArgs {
  PodRef pod;
  std::string node;
};

/// kInvalid as ArgsDecoder::Decode; all four members must be given and not be empty.
/// REQUIRES: http::kBodyPadding readable bytes after `body`.
Result<BindArgs> DecodeBindArgs(std::string_view body);

/// ExtenderFilterResult for what the engine said: the fitting nodes (in the form the candidates came in), or else every refusal.
std::string EncodeFilterResult(const ExtenderArgs& args, const FilterOutcome& outcome);
/// ExtenderFilterResult that passes every candidate.
std::string EncodeAllPass(const ExtenderArgs& args);
/// ExtenderFilterResult that fails the scheduling cycle.
std::string EncodeFilterError(std::string_view error);
/// HostPriorityList. REQUIRES: as many scores as names.
std::string EncodePriorities(std::span<const std::string_view> names, std::span<const int> scores);
/// ExtenderBindingResult; an empty error is success.
std::string EncodeBindResult(std::string_view error);
/// Body of a 400, as the HTTP server words its own refusals: {"error":"…"}.
std::string EncodeMalformed(std::string_view error);

}  // namespace partage::scheduler
