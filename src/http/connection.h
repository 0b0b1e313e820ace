// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <unordered_map>

#include "base/mutex.h"
#include "http/body.h"
#include "http/router.h"
#include "http/server.h"
#include "http/tls.h"

namespace boost::asio {
class io_context;
}

namespace partage::http {

/// What a connection is waiting for; each wait but kHandling has a deadline. A TLS handshake counts as the first request's header.
///
///              first byte          header        body            answer          sent, keep-alive
///   kIdle ───────────────▶ kHeader ──────▶ kBody ────▶ kHandling ──────▶ kWriting ───────────────▶ kIdle
///                                                                            │ sent, last
///                                                                            ▼
///                                                 kClosed ◀──────────── kLingering
enum class Phase : std::uint8_t {
  kIdle,
  kHeader,
  kBody,
  kHandling,
  kWriting,
  kLingering,  ///< refused with part of the request unread: reads it off for a moment, for the kernel would drop the answer otherwise
  kClosed,
};

/// One client's connection. Whoever holds one may call it from any thread.
class Connection {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  enum class Order {
    kExpire,  ///< ends the wait, if its deadline has passed
    kCloseIfIdle,
    kAbort,  ///< closes at once
  };

  virtual ~Connection() = default;
  /// Begins to read.
  virtual void Start() = 0;
  /// Obeyed a little later, on one of the server's threads.
  virtual void Tell(Order order) = 0;

  Phase phase() const { return phase_; }
  TimePoint deadline() const { return TimePoint(TimePoint::duration(deadline_)); }

 protected:
  void Enter(Phase phase, TimePoint deadline) {
    deadline_ = deadline.time_since_epoch().count();
    phase_ = phase;
  }

 private:
  std::atomic<Phase> phase_ = Phase::kIdle;
  std::atomic<TimePoint::rep> deadline_ = TimePoint::max().time_since_epoch().count();
};

/// The open connections of a server. Thread-safe.
class ConnectionSet {
 public:
  void Add(std::shared_ptr<Connection> connection);
  void Remove(const Connection* connection);
  std::size_t size() const;

  void TellAll(Connection::Order order);
  /// kExpire to those whose deadline has passed.
  void TellExpired(Connection::TimePoint now);
  /// `order` to the `count` that have been in this phase for longest, of those whose deadline is not after `due_by`; returns how many there were.
  std::size_t TellOldest(Phase phase, Connection::Order order, std::size_t count,
                         Connection::TimePoint due_by = Connection::TimePoint::max());
  /// False when some were still open at `deadline`.
  bool WaitEmpty(Connection::TimePoint deadline) const;

 private:
  mutable Mutex mutex_;
  mutable CondVar emptied_;
  std::unordered_map<const Connection*, std::shared_ptr<Connection>> connections_ PARTAGE_GUARDED_BY(mutex_);
};

/// What the connections of a server share. Each holds it, because an answer may come, and find its connection, after the Server is gone.
struct ServerContext {
  explicit ServerContext(ServerOptions server_options);
  ~ServerContext();

  const ServerOptions options;
  const std::unique_ptr<TlsFiles> tls;  ///< null: plain HTTP
  const std::unique_ptr<boost::asio::io_context> io;
  Router router;
  BodyPool bodies;
  ConnectionSet connections;
  std::atomic<bool> draining = false;  ///< answers say `Connection: close`
};

/// Serves HTTP on an accepted, non-blocking socket, which it owns from now on.
std::shared_ptr<Connection> MakeConnection(std::shared_ptr<ServerContext> context, int socket);

}  // namespace partage::http
