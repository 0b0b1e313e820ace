// SPDX-License-Identifier: Apache-2.0
#include "k8s/leases/neighbour.h"

#include <utility>

namespace partage::k8s {

Neighbour::Neighbour(LeaseApi& api, std::string host, const Clock& clock) : api_(api), host_(std::move(host)), clock_(clock) {}

void Neighbour::Look() {
  const auto live = api_.Get();
  trouble_ = live ? std::string() : live.error().message;
  if (!live && live.error().code != Code::kNotFound) return;
  const Lease now = live ? *live : Lease{};
  if (!now.SameRecord(seen_)) changed_ = clock_.Now();
  seen_ = now;
}

bool Neighbour::holds() const {
  const bool named = seen_.holder == host_ || seen_.holder.starts_with(host_ + "_");
  return named && clock_.Now() < changed_ + seen_.duration;
}

}  // namespace partage::k8s
