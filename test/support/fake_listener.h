// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "base/mutex.h"

namespace partage::test {

/// One request as it arrived.
struct HttpRequest {
  std::string method, path;                  ///< path without the query
  std::map<std::string, std::string> query;  ///< decoded
  std::string body, authorization, content_type;
};

/// The way back to one client. Used by one thread.
class HttpReply {
 public:
  /// `busy` is cleared before the last byte leaves: a client that has its answer finds the connection idle.
  HttpReply(int fd, std::atomic<bool>& busy) : fd_(fd), busy_(busy) {}
  /// A whole answer. `headers` are lines ending in "\r\n".
  void Send(int status, std::string_view body, std::string_view headers = {});
  /// A whole answer's header and half of its body, then Drop(reset).
  void SendHalf(int status, std::string_view body, bool reset);
  /// A streamed answer: Begin, Chunk…, End. False when the client is gone.
  bool Begin(int status);
  bool Chunk(std::string_view data);
  bool End();
  /// Closes the connection without another word; `reset` sends RST instead of FIN.
  void Drop(bool reset = false);
  /// The client has closed its side.
  bool ClientGone() const;
  bool dropped() const { return dropped_; }

 private:
  bool Write(std::string_view data);
  int fd_;
  std::atomic<bool>& busy_;
  bool dropped_ = false;
};

/// A small HTTP/1.1 server for tests: loopback, plain text, keep-alive, one thread a connection. Thread-safe.
class FakeListener {
 public:
  using Handler = std::function<void(const HttpRequest&, HttpReply&)>;
  /// `handler` runs on connection threads.
  explicit FakeListener(Handler handler) : handler_(std::move(handler)) {}
  ~FakeListener() { Stop(); }

  /// Listens on 127.0.0.1; the first time on a port of the system's choice, later on the same again.
  void Start();
  /// Refuses new connections, cuts the open ones, waits for their threads. Idempotent.
  void Stop();
  int port() const { return port_; }
  /// Connections accepted since construction.
  std::uint64_t accepted() const { return accepted_; }
  /// Closes connections that wait between two requests, as a server's idle time-out does.
  void CloseIdle();
  /// Sleeps, but not past Stop(): false then.
  bool Sleep(std::chrono::nanoseconds time);
  bool stopping() const { return stopping_; }

 private:
  struct Connection {
    int fd = -1;
    std::atomic<bool> busy{false}, ended{false};
    std::thread thread;
  };
  void Accept();
  void Serve(Connection& connection);
  bool ReadRequest(Connection& connection, std::string& buffer, HttpRequest& request);
  void Reap(bool all);

  const Handler handler_;
  int listen_fd_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{true};
  std::atomic<std::uint64_t> accepted_{0};
  std::thread acceptor_;
  Mutex mutex_;
  CondVar stop_signal_;
  std::list<Connection> connections_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::test
