// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace partage::http {

/// Readable bytes after the end of Request::body, so that simdjson may parse it in place.
inline constexpr std::size_t kBodyPadding = 64;

/// A request whose body has arrived whole. Valid until its Respond is called.
struct Request {
  std::string_view method;   ///< "POST"
  std::string_view path;     ///< "/filter", without the query
  std::string_view query;    ///< "pod=a/b", not decoded; may be empty
  std::string_view body;     ///< followed by kBodyPadding readable bytes
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
};

/// Sends the answer. Call exactly once, from any thread; dropping it without a call answers 500.
using Respond = std::function<void(Response)>;
/// Runs on one of the server's threads: must not block. Slow work goes to another thread, which calls Respond.
using Handler = std::function<void(const Request&, Respond)>;

struct ServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;                              ///< 0: the OS chooses, see Server::port()
  int threads = 2;
  std::size_t max_body = 64u << 20;                    ///< larger: 413 and the connection closes
  std::size_t max_connections = 16384;                 ///< beyond: the oldest idle ones are closed, then new ones refused
  std::chrono::seconds header_timeout{5};              ///< from the first byte of a request to the end of its headers
  std::chrono::seconds body_timeout{10};               ///< for the body
  std::chrono::seconds idle_timeout{90};               ///< between requests on a keep-alive connection
};

/// An HTTP/1.1 server on Boost.Beast with keep-alive. Knows nothing of Kubernetes. Thread-safe.
///
/// Unknown path: 404. Known path, other method: 405. Malformed request: 400. Header over 16 KiB: 431. Body over max_body: 413. A handler that throws: 500
/// (logged). None of these ends the process, and a slow or silent client costs one connection, never a thread.
class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();   ///< Stop(0 s)

  /// Before Start only.
  void Route(std::string method, std::string path, Handler handler);
  /// Binds and serves. kUnavailable names address and reason ("127.0.0.1:80: permission denied").
  Result<> Start();
  /// The bound port, after Start.
  std::uint16_t port() const;
  /// Stops accepting, lets running requests finish for at most `grace`, closes. Idempotent.
  void Stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Splits "HOST:PORT" ("[::1]:80", ":9395" = all addresses). kInvalid names the text.
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
};
Result<Endpoint> ParseEndpoint(std::string_view text);

/// Value of a query parameter, percent-decoded; empty when absent.
std::string QueryParameter(std::string_view query, std::string_view name);

}  // namespace partage::http
