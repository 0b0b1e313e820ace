// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "test/http/test_server.h"
#include "test/http/tls_client.h"
#include "test/support/temp_folder.h"

namespace partage::test {

/// A TestServer behind TLS, its files, and what it told about them.
class TlsTestServer {
 public:
  /// `identity` is the server's, or, where `tls` has names, its authority; clients must show a certificate that `client_ca` signed, unless that is empty.
  explicit TlsTestServer(const Identity& identity, const std::string& client_ca = {},
                         std::chrono::milliseconds header_timeout = std::chrono::seconds(5), http::TlsOptions tls = {},
                         std::size_t max_connections = 100)
      : client_ca_(client_ca), http_(Options(identity, header_timeout, std::move(tls), max_connections)) {}

  TestServer& http() { return http_; }
  TlsClient Connect(const TlsClientOptions& options) { return TlsClient(http_.server.port(), options); }

  void WriteCertificate(const std::string& pem) const { folder_.Write("tls.crt", pem); }
  void WriteKey(const std::string& pem) const { folder_.Write("tls.key", pem); }
  void WriteClientCa(const std::string& pem) const { folder_.Write("ca.crt", pem); }
  void Write(const Identity& identity) const {
    WriteCertificate(identity.certificate);
    WriteKey(identity.key);
  }

  /// How many events of that kind there were.
  int Count(http::TlsEvent::Kind kind) const {
    std::lock_guard lock(mutex_);
    const auto found = counts_.find(kind);
    return found == counts_.end() ? 0 : found->second;
  }
  /// Waits until there were `count` of them; false after 10 s.
  bool Wait(http::TlsEvent::Kind kind, int count) const {
    std::unique_lock lock(mutex_);
    return told_.wait_for(lock, std::chrono::seconds(10), [&] {
      const auto found = counts_.find(kind);
      return found != counts_.end() && found->second >= count;
    });
  }

 private:
  http::ServerOptions Options(const Identity& identity, std::chrono::milliseconds header_timeout, http::TlsOptions tls,
                              std::size_t max_connections) {
    Write(identity);
    if (!client_ca_.empty()) WriteClientCa(client_ca_);
    tls.certificate_file = folder_.path() + "/tls.crt";
    tls.key_file = folder_.path() + "/tls.key";
    if (!client_ca_.empty()) tls.client_ca_file = folder_.path() + "/ca.crt";
    tls.reload_interval = std::chrono::milliseconds(5);
    tls.on_event = [this](const http::TlsEvent& event) {
      std::lock_guard lock(mutex_);
      ++counts_[event.kind];
      told_.notify_all();
    };
    return {.max_connections = max_connections, .header_timeout = header_timeout, .tls = tls};
  }

  TempFolder folder_;
  const std::string client_ca_;
  mutable std::mutex mutex_;
  mutable std::condition_variable told_;
  std::map<http::TlsEvent::Kind, int> counts_;
  TestServer http_;
};

}  // namespace partage::test
