// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "k8s/api/lease.h"
#include "k8s/client/client.h"

namespace partage::k8s {

/// One Lease object of a cluster. Blocking; used by one thread.
class LeaseApi {
 public:
  virtual ~LeaseApi() = default;
  /// "kube-system/kube-scheduler".
  virtual std::string name() const = 0;
  /// A consistent read. kNotFound when there is none.
  virtual Result<Lease> Get() = 0;
  /// As stored then. kConflict when there is one already; kUnknown when the write may have been executed.
  virtual Result<Lease> Create(const Lease& lease) = 0;
  /// As stored then. kConflict unless the stored one still has `lease.resource_version`; kUnknown when the write may have been executed.
  virtual Result<Lease> Update(const Lease& lease) = 0;
};

/// Over the real API server. `client` must outlive it.
std::unique_ptr<LeaseApi> MakeLeaseApi(Client& client, std::string ns, std::string name);

}  // namespace partage::k8s
