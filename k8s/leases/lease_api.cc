// SPDX-License-Identifier: Apache-2.0
#include "k8s/leases/lease_api.h"

#include <fmt/format.h>

namespace partage::k8s {
namespace {

class ClientLeaseApi final : public LeaseApi {
 public:
  ClientLeaseApi(Client& client, std::string ns, std::string name)
      : client_(client),
        ns_(std::move(ns)),
        name_(std::move(name)),
        collection_(fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", ns_)),
        path_(fmt::format("{}/{}", collection_, name_)) {}

  std::string name() const override { return ns_ + "/" + name_; }
  Result<Lease> Get() override { return Decoded("GET", client_.Get(path_)); }
  Result<Lease> Create(const Lease& lease) override { return Decoded("POST", client_.Post(collection_, EncodeLease(ns_, name_, lease))); }
  Result<Lease> Update(const Lease& lease) override { return Decoded("PUT", client_.Put(path_, EncodeLease(ns_, name_, lease))); }

 private:
  Result<Lease> Decoded(std::string_view method, const Result<Reply>& reply) const {
    const std::string call = fmt::format("{} lease {}", method, name());
    if (!reply) return Fail(reply.error(), call);
    if (const auto error = ErrorOf(*reply)) return Fail(*error, call);
    auto lease = DecodeLease(reply->body);
    return lease ? lease : Fail(lease.error(), call);
  }

  Client& client_;
  const std::string ns_, name_, collection_, path_;
};

}  // namespace

std::unique_ptr<LeaseApi> MakeLeaseApi(Client& client, std::string ns, std::string name) {
  return std::make_unique<ClientLeaseApi>(client, std::move(ns), std::move(name));
}

}  // namespace partage::k8s
