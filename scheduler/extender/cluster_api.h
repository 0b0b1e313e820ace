// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"
#include "k8s/api/binding.h"
#include "k8s/api/event.h"
#include "k8s/api/eviction.h"
#include "k8s/api/nomination.h"
#include "k8s/api/pod.h"
#include "k8s/client/client.h"

namespace partage::scheduler {

/// The calls the scheduler makes to a cluster: the API server's, or the simulator's. Blocking; thread-safe.
class ClusterApi {
 public:
  virtual ~ClusterApi() = default;

  /// One POST …/binding. kConflict (409), kNotFound (404), kInvalid (other 4xx, or a name that is none of Kubernetes'), kUnavailable (certainly not
  /// executed: throttled, never sent, too late by `binding.send_by`), kUnknown (may have been executed: lost reply, time-out, 5xx).
  virtual Result<> WriteBinding(const k8s::Binding& binding) = 0;

  /// The live pod. kNotFound when gone.
  virtual Result<k8s::Pod> GetPod(const std::string& ns, const std::string& name) = 0;

  enum class Evicted {
    kYes,        ///< the pod is being deleted; in a dry run: it would be
    kGone,       ///< no pod of that UID is there any more
    kProtected,  ///< a PodDisruptionBudget says no
  };
  /// One POST …/eviction. Errors as WriteBinding's, without kConflict and kNotFound. kUnknown also where the server itself fails, as with two budgets on one
  /// pod.
  virtual Result<Evicted> Evict(const k8s::Eviction& eviction) = 0;

  /// Sets the pod's status.nominatedNodeName; an empty node takes it away. kConflict: the name belongs to another pod by now. kNotFound, kInvalid,
  /// kUnavailable, kUnknown as WriteBinding. A cluster may have no place for it: then nothing happens.
  virtual Result<> Nominate(const k8s::Nomination&) { return {}; }

  /// Sets one annotation of a node (merge patch): kube-scheduler then retries the pods an extender refused.
  virtual Result<> AnnotateNode(const std::string& node, const std::string& key, const std::string& value) = 0;

  /// Creates the event, or says that it has happened again (Event::created). A cluster may have no place for events: then nothing happens.
  virtual Result<> WriteEvent(const k8s::Event&) { return {}; }

  /// How long the server, when it last throttled a call (429), asked to wait before the next try; 0 once it serves again.
  virtual std::chrono::milliseconds retry_after() const { return std::chrono::milliseconds(0); }
};

/// ClusterApi over the real API server. `client` must outlive it.
std::unique_ptr<ClusterApi> MakeKubeClusterApi(k8s::Client& client);

}  // namespace partage::scheduler
