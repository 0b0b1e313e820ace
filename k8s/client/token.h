// SPDX-License-Identifier: Apache-2.0
// Private to this folder.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "k8s/client/config.h"

namespace partage::k8s {

/// The bearer token of a ClientConfig. A token file is read again every minute (kubelet rewrites it long before the token expires) and after a 401.
/// Thread-safe.
class TokenSource {
 public:
  TokenSource(const ClientConfig& config, const Clock& clock) : fixed_(config.token), file_(config.token_file), clock_(clock) {}

  /// kInvalid names the file that cannot be read, is empty, or holds characters no header may have.
  Result<> Load();
  /// "Bearer …", or "" without a token. A file that can no longer be read is logged, and the last token used.
  std::string Header();
  /// The server refused `header`: reads the file now. True when there is another token to try.
  bool Renew(const std::string& header);

 private:
  Result<std::string> Read() const;
  void Refresh() PARTAGE_REQUIRES(mutex_);

  const std::string fixed_, file_;
  const Clock& clock_;
  Mutex mutex_;
  std::string token_ PARTAGE_GUARDED_BY(mutex_);
  Clock::Mono read_at_ PARTAGE_GUARDED_BY(mutex_){};
};

}  // namespace partage::k8s
