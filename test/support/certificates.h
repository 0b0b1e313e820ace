// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

namespace partage::test {

/// Keys and certificates made on the spot, as PEM texts.
struct Identity {
  std::string certificate, key;
};

/// What a server on loopback is called in its certificate.
inline const std::string kLoopback = "IP:127.0.0.1";

/// An authority that signs. Not thread-safe.
class Authority {
 public:
  Authority();
  ~Authority();
  /// Its own certificate, to be trusted.
  const std::string& certificate() const;
  std::string key() const;
  /// For a server or client; `names` is an OpenSSL subjectAltName, "DNS:api.test,IP:127.0.0.1". Good until `seconds` from now, which may lie in the past.
  Identity Issue(const std::string& names, long seconds = 3600) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::test
