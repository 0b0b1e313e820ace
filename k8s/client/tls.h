// SPDX-License-Identifier: Apache-2.0
// Private to this folder: certificates and keys → an OpenSSL context.
#pragma once

#include <memory>
#include <string>

#include <openssl/ssl.h>

#include "base/mutex.h"
#include "base/result.h"
#include "k8s/client/config.h"

namespace partage::k8s {

/// The TLS side of a ClientConfig: which servers to believe and who we are. Files are read again when they have changed, so that rotated certificates
/// serve the next connection. Thread-safe.
class Tls {
 public:
  /// `name`: the host name or address the server's certificate must bear. kInvalid names the file or member that cannot be used.
  static Result<std::unique_ptr<Tls>> Make(const ClientConfig& config, std::string name);
  ~Tls();

  /// Sets verification and identity of `context` for its next connections. A changed file that cannot be read is logged, and the old content used.
  void Apply(SSL_CTX* context);

  /// What to send as SNI: the name, or nothing when it is an address.
  std::string ServerNameIndication() const;

  /// Why the last handshake on this thread failed, and forgets it.
  static std::string TakeHandshakeError();

 private:
  struct Material;
  Tls(const ClientConfig& config, std::string name);
  Result<std::shared_ptr<const Material>> Load() const;
  std::string FileStamps() const;
  std::shared_ptr<const Material> Current();

  const ClientConfig config_;
  const std::string name_;
  Mutex mutex_;
  std::string stamps_ PARTAGE_GUARDED_BY(mutex_);
  std::shared_ptr<const Material> material_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::k8s
