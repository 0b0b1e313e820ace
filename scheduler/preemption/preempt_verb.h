// SPDX-License-Identifier: Apache-2.0
// kube-scheduler's /preempt: it has found pods whose eviction would make room in CPU, memory and the like, and asks which of these nodes would do for devices
// too.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/server.h"
#include "k8s/api/pod.h"
#include "metrics/registry.h"
#include "scheduler/engine/engine.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// ExtenderPreemptionArgs, in either form: victims by UID (nodeCacheCapable), or as whole pods, of which only the UID counts.
struct PreemptArgs {
  struct Victims {
    std::vector<std::string> uids;
    std::int64_t budget_violations = 0;
  };
  k8s::Pod pod;
  std::map<std::string, Victims> nodes;
};

/// kInvalid says what is wrong with the body.
Result<PreemptArgs> DecodePreemptArgs(std::string_view body);
/// ExtenderPreemptionResult.
std::string EncodePreemptResult(const std::map<std::string, PreemptArgs::Victims>& nodes);

/// The nodes on which the pod would fit without these victims, each with further victims of lower priority where it would not without them too. Devices of a
/// pod that asks for none of ours are not looked at.
std::map<std::string, PreemptArgs::Victims> AnswerPreempt(Engine& engine, const PreemptArgs& args, const device::PodRequest* request);

/// The handler of POST /preempt. A malformed body gets a 400; while `ready` is false, a 503: kube-scheduler then preempts nobody in this cycle. Thread-safe.
/// `engine` and `vendors` must outlive it.
http::Handler MakePreemptHandler(Engine& engine, const vendors::Catalog& vendors, std::function<bool()> ready, metrics::Registry& registry);

}  // namespace partage::scheduler
