// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "http/server.h"
#include "test/http/raw_client.h"

namespace partage::test {

/// Responds kept for later, to be answered by whichever thread a test chooses. Thread-safe.
class Desk {
 public:
  struct Case {
    const http::Request* request;  ///< valid until respond is called
    http::Respond respond;
  };
  void Keep(const http::Request& request, http::Respond respond);
  /// Waits for the next.
  Case Take();

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Case> cases_;
};

/// A started server on a free port with routes that behave in every way a handler may:
/// GET /hello, POST /echo (body back), GET /query (query back), GET /big (5 MB), POST /later (to the desk), GET /drop, GET /throw.
struct TestServer {
  explicit TestServer(http::ServerOptions options = {});

  RawClient Connect() const { return RawClient(server.port()); }

  Desk desk;  // outlives the server, whose handlers use it
  http::Server server;
};

inline constexpr std::size_t kBig = 5u << 20;

}  // namespace partage::test
