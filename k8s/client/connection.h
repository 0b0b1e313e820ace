// SPDX-License-Identifier: Apache-2.0
// Private to this folder: one keep-alive connection, on cpp-httplib.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "k8s/client/client.h"
#include "k8s/client/endpoint.h"
#include "k8s/client/tls.h"

namespace partage::k8s {

/// One request and how its answer is taken.
struct Exchange {
  std::string method, path, body, content_type, authorization;
  std::function<bool(const Reply& head)> on_head;       ///< false: enough
  std::function<bool(std::string_view piece)> on_data;  ///< pieces that arrived together come as one; false: enough
  std::chrono::milliseconds idle{0};                    ///< longest silence of the server; 0: no bound
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::chrono::steady_clock::time_point send_by = std::chrono::steady_clock::time_point::max();  ///< no byte leaves later
  std::stop_token stop;
};

/// How far a failed exchange got: what the caller may conclude about its execution.
enum class Reached {
  kNothing,   ///< the server cannot have a whole request, so it did nothing
  kSent,      ///< the whole request left, no byte of an answer came
  kAnswered,  ///< the answer began
};

struct ExchangeFailure {
  Reached reached = Reached::kNothing;
  bool timed_out = false;  ///< the silence bound or the deadline was met
  std::string message;
};

/// A connection that (re)connects by itself when an exchange needs it. Used by one thread at a time.
class Connection {
 public:
  /// `tls` is null for plain HTTP, else must outlive the connection.
  static std::unique_ptr<Connection> Make(const Endpoint& endpoint, Tls* tls, std::chrono::milliseconds connect_timeout);
  virtual ~Connection() = default;

  /// nullopt when the answer came to its end, or on_head, on_data or the stop token had enough. After a failure or an answer that was broken off the
  /// connection is closed.
  virtual std::optional<ExchangeFailure> Run(const Exchange& exchange) = 0;
  virtual bool open() const = 0;
  /// Closes a connection that the server has closed, or that has something to read although nothing was asked. Only this moment is known: the server may
  /// still close before it has the next request.
  virtual void CloseIfStale() = 0;
  virtual void Close() = 0;
};

}  // namespace partage::k8s
