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
  std::chrono::milliseconds retry_after{0};   ///< from Retry-After; 0 when absent
};

/// REST client of one API server, on cpp-httplib: a pool of keep-alive connections, TLS, bearer token re-read from its file, client certificates.
/// Blocking: call it from worker threads. Thread-safe.
///
/// Transport failures are Errors: kUnavailable when the request certainly never reached the server (refused, unresolved, TLS handshake),
/// kUnknown when it may have (time-out or reset after sending). HTTP statuses are Replies; see ErrorOf.
class Client {
 public:
  /// kInvalid when the configuration cannot work (bad URL, unreadable certificate or key: the message names the file).
  static Result<std::unique_ptr<Client>> Make(ClientConfig config, const Clock& clock);
  virtual ~Client() = default;

  virtual Result<Reply> Get(const std::string& path) = 0;
  virtual Result<Reply> Post(const std::string& path, const std::string& body) = 0;
  virtual Result<Reply> Patch(const std::string& path, const std::string& body, const std::string& content_type) = 0;
  virtual Result<Reply> Delete(const std::string& path) = 0;

  /// GET whose body arrives in pieces. `on_status` sees the status first; return false to stop. `on_data` gets each piece; false stops, as does `stop`.
  /// Ends without error at the server's end of body. `idle` bounds the silence between two pieces (kUnknown after it).
  struct Stream {
    std::function<bool(const Reply& head)> on_status;
    std::function<bool(std::string_view data)> on_data;
    std::chrono::seconds idle{60};
  };
  virtual Result<> GetStream(const std::string& path, const Stream& stream, std::stop_token stop) = 0;

  /// For logs: "https://10.0.0.1:6443".
  virtual std::string server() const = 0;
};

/// The error a non-2xx reply stands for: 404 kNotFound, 409 kConflict, 410 kConflict, 400/401/403/405/413/415/422 kInvalid, 429 kUnavailable
/// (certainly not executed), other 5xx kUnknown. The message carries the Status object's own message. nullopt for 2xx.
std::optional<Error> ErrorOf(const Reply& reply);

}  // namespace partage::k8s
