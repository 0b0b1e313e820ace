// SPDX-License-Identifier: Apache-2.0
#include "k8s/informer/backoff.h"

#include <algorithm>

namespace partage::k8s {
namespace {

constexpr std::chrono::minutes kHealthy{2};

}  // namespace

std::chrono::milliseconds Backoff::Next() {
  const auto now = clock_.Now();
  if (now - last_ > kHealthy) next_ = first_;
  last_ = now;
  const auto delay = next_;
  next_ = std::min(next_ * 2, max_);
  return delay + std::chrono::milliseconds(std::uniform_int_distribution<long>(0, std::max<long>(delay.count() - 1, 0))(random_));
}

}  // namespace partage::k8s
