// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace partage::http {

/// Readable bytes after the end of Request::body, so that simdjson may parse it in place.
inline constexpr std::size_t kBodyPadding = 64;

/// A request whose body has arrived whole. Valid until its Respond is called, also when the client or the server goes away meanwhile.
struct Request {
  std::string_view method;  ///< "POST"
  std::string_view path;    ///< "/filter", without the query
  std::string_view query;   ///< "pod=a/b", not decoded; may be empty
  std::string_view body;    ///< followed by kBodyPadding readable bytes
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  bool close = false;  ///< ends the connection after this answer
};

/// Sends the answer. Call exactly once, from any thread; dropping it without a call answers 500. Harmless after the client has gone or the
/// server has stopped. Calls after the first do nothing.
using Respond = std::function<void(Response)>;
/// Runs on one of the server's threads: must not block. Slow work goes to another thread, which calls Respond.
using Handler = std::function<void(const Request&, Respond)>;

/// Something that happened to a server's certificates or to a client's handshake; for metrics.
struct TlsEvent {
  enum class Kind : std::uint8_t {
    kLoaded,    ///< read for the first time, or renewed
    kRejected,  ///< the files changed to something that cannot be used; what was read before stays in use
    kHandshakeFailed,
  };
  Kind kind = Kind::kLoaded;
  std::chrono::system_clock::time_point valid_until;  ///< of the certificate in use; not with kHandshakeFailed
};

/// TLS 1.2 or newer. All files are PEM, read at Start and again when they change.
struct TlsOptions {
  std::string certificate_file;  ///< the server's own first, then those that signed it
  std::string key_file;          ///< without a passphrase
  std::string client_ca_file;    ///< not empty: every client must show a certificate that one of these signed
  /// Not empty: certificate_file and key_file are an authority's, and the server issues itself a certificate for these names (certificate_issuer.h).
  std::vector<std::string> names;
  std::chrono::seconds issue_for = std::chrono::hours(30 * 24);     ///< with names: how long such a certificate is good,
  std::chrono::seconds renew_before = std::chrono::hours(10 * 24);  ///< and how long before its end it is issued anew
  std::chrono::milliseconds reload_interval{1000};                  ///< files are looked at about this often
  std::function<void(const TlsEvent&)> on_event;                    ///< on any of the server's threads; may be empty
};

struct ServerOptions {
  std::string host = "127.0.0.1";                  ///< a name, an IPv4 or IPv6 address; empty: all addresses
  std::uint16_t port = 0;                          ///< 0: the OS chooses, see Server::port()
  int threads = 2;                                 ///< at least 1
  std::size_t max_body = 64u << 20;                ///< larger: 413 and the connection closes
  std::size_t max_connections = 16384;             ///< beyond: the oldest idle ones are closed, then new ones refused with 503
  std::chrono::milliseconds header_timeout{5000};  ///< from the first byte of a request to the end of its headers; then 408
  std::chrono::milliseconds body_timeout{10000};   ///< for the body, then 408; and for the client to take each started MiB of the answer
  std::chrono::milliseconds idle_timeout{120000};  ///< between requests; longer than the 90 s of Go clients, so that it is they who close
  std::optional<TlsOptions> tls;                   ///< absent: plain HTTP. A handshake has header_timeout to be done
};

/// An HTTP/1.1 server on Boost.Beast with keep-alive and pipelining, plain or over TLS. Knows nothing of Kubernetes. Thread-safe.
///
/// Answered without a handler, each with {"error":"…"} that names the way out: unknown path 404; known path, other method 405 (HEAD is served where
/// GET is); malformed request 400; slow request 408; body over max_body 413; header over 16 KiB 431; a transfer coding other than chunked 501.
/// A handler that throws: 500 (logged). None of these ends the process, and a slow or silent client costs one connection, never a thread.
///
///   Server server({.port = 9395});
///   server.Route("GET", "/healthz", [](const Request&, Respond respond) { respond({.body = "{}"}); });
///   if (auto started = server.Start(); !started) return started;
class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();  ///< Stop(0 s)
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Before Start only. A second handler for the same method and path replaces the first.
  void Route(std::string method, std::string path, Handler handler);
  /// Binds and serves; once. kUnavailable names address and reason ("127.0.0.1:80: permission denied"), kInvalid a host that cannot be resolved,
  /// kInvalid or kNotFound a TLS file that cannot be used.
  Result<> Start();
  /// The bound port, after Start.
  std::uint16_t port() const;
  /// Stops accepting, closes idle connections, lets running requests finish for at most `grace` (their answers say `Connection: close`), closes.
  /// No handler runs any more when it returns. Idempotent. REQUIRES: not called from a handler.
  void Stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Splits "HOST:PORT" ("[::1]:80", ":9395" = all addresses). kInvalid names the text and the fault.
struct Endpoint {
  std::string host;  ///< as in ServerOptions
  std::uint16_t port = 0;
};
Result<Endpoint> ParseEndpoint(std::string_view text);

/// Value of a query parameter, percent-decoded, "+" as space; the first of several; empty when absent.
std::string QueryParameter(std::string_view query, std::string_view name);

}  // namespace partage::http
