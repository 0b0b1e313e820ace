// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "test/http/raw_client.h"
#include "test/support/certificates.h"

namespace partage::test {

/// What a TLS client trusts and shows.
struct TlsClientOptions {
  std::string ca;       ///< PEM; empty: any server is trusted
  Identity identity;    ///< empty: no client certificate
  int max_version = 0;  ///< e.g. TLS1_1_VERSION; 0: the newest
};

/// A blocking HTTPS client on loopback that speaks to 127.0.0.1 and says why it could not. Used by one thread at a time.
class TlsClient {
 public:
  TlsClient(std::uint16_t port, const TlsClientOptions& options);

  /// Sends the bytes and receives one response; "" when the connection, its handshake included, fails.
  std::string Ask(std::string_view bytes);
  /// Why the last thing failed, in OpenSSL's words; empty: it did not.
  const std::string& fault() const { return fault_; }
  /// The number in the server's certificate, as bytes, to tell one from another.
  std::string serial() const;
  /// True when the server says goodbye, as TLS asks, before it closes.
  bool EndsProperly();

 private:
  struct Freer {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  void Trust(const std::string& ca);
  void Show(const Identity& identity);
  bool Fill();
  bool Note(int result);

  RawClient tcp_;
  std::unique_ptr<SSL_CTX, Freer> context_;
  std::unique_ptr<SSL, Freer> ssl_;
  std::string buffer_, fault_;
};

}  // namespace partage::test
