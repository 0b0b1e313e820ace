// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "k8s/client/config.h"

namespace partage::k8s {

/// An answer of the API server, whatever its status.
struct Reply {
  int status = 0;
  std::string body;
  std::chrono::milliseconds retry_after{0};  ///< from Retry-After; 0 when absent
};

/// REST client of one API server, on cpp-httplib: a pool of keep-alive connections, TLS, bearer token re-read from its file, client certificates.
/// Blocking: call it from worker threads. Thread-safe.
///
/// Transport failures are Errors: kUnavailable when the request certainly never reached the server whole (refused, unresolved, TLS handshake, broken off
/// while sending, no free connection), kUnknown when it may have (time-out or reset after sending). HTTP statuses are Replies; see ErrorOf.
///
/// Retried inside, once: a request that a reused connection could not deliver (certainly not executed), a GET that got no byte of an answer on a reused
/// connection, and a 401 when the token file holds another token than was sent. Nothing else: 429 is the caller's to wait for.
///
/// Paths are sent as they are, e.g. "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1": the caller escapes. A path with spaces or control characters is kInvalid.
class Client {
 public:
  /// kInvalid when the configuration cannot work (bad URL, unreadable certificate, key or token: the message names the file). `clock` must outlive the client.
  /// Makes the process ignore SIGPIPE where its disposition is the default: a write to a closed connection is an Error here, not a death.
  static Result<std::unique_ptr<Client>> Make(ClientConfig config, const Clock& clock);
  virtual ~Client() = default;

  virtual Result<Reply> Get(const std::string& path) = 0;
  virtual Result<Reply> Post(const std::string& path, const std::string& body) = 0;
  /// A POST of which nothing is sent after `send_by`: kUnavailable then. For writes that are allowed only for a while; a process that is stopped in between
  /// finds that it is too late.
  virtual Result<Reply> PostBy(Clock::Mono send_by, const std::string& path, const std::string& body) = 0;
  virtual Result<Reply> Put(const std::string& path, const std::string& body) = 0;
  virtual Result<Reply> Patch(const std::string& path, const std::string& body, const std::string& content_type) = 0;
  virtual Result<Reply> Delete(const std::string& path) = 0;

  /// GET whose body arrives in pieces. `on_status` sees status and Retry-After first; return false to stop. `on_data` gets the body, what arrived together as
  /// one piece; false stops, as does `stop` (seen within half a second, without an error). Ends without error at the server's end of body.
  /// `idle` bounds the server's silence (kUnknown after it). Its connection does not count towards max_connections.
  struct Stream {
    std::function<bool(const Reply& head)> on_status;
    std::function<bool(std::string_view data)> on_data;
    std::chrono::milliseconds idle{60000};
  };
  virtual Result<> GetStream(const std::string& path, const Stream& stream, std::stop_token stop) = 0;

  /// For a process that is to end: the requests under way fail within half a second (one that is in its TLS handshake: within the time-out for connecting) and
  /// every later one at once, kUnavailable or kUnknown as above. Streams have stop tokens of their own. Idempotent.
  virtual void HangUp() = 0;

  /// For logs: "https://10.0.0.1:6443".
  virtual std::string server() const = 0;
};

/// The error a non-2xx reply stands for: 404 kNotFound, 409 kConflict, 410 kConflict, 400/401/403/405/413/415/422 kInvalid, 429 kUnavailable
/// (certainly not executed), other 5xx kUnknown. The message carries the Status object's own message. nullopt for 2xx.
std::optional<Error> ErrorOf(const Reply& reply);

}  // namespace partage::k8s
