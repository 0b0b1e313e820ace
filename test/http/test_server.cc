// SPDX-License-Identifier: Apache-2.0

#include "test/http/test_server.h"

#include <stdexcept>

namespace partage::test {

using http::Request;
using http::Respond;

void Desk::Keep(const Request& request, Respond respond) {
  std::lock_guard lock(mutex_);
  cases_.push_back({&request, std::move(respond)});
  arrived_.notify_one();
}

Desk::Case Desk::Take() {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_for(lock, std::chrono::seconds(10), [&] { return !cases_.empty(); })) throw std::runtime_error("no request came");
  auto taken = std::move(cases_.front());
  cases_.pop_front();
  return taken;
}

TestServer::TestServer(http::ServerOptions options) : server(std::move(options)) {
  server.Route("GET", "/hello", [](const Request&, Respond respond) { respond({.body = "hello"}); });
  server.Route("POST", "/echo", [](const Request& request, Respond respond) { respond({.body = std::string(request.body)}); });
  server.Route("GET", "/query", [](const Request& request, Respond respond) { respond({.body = std::string(request.query)}); });
  server.Route("GET", "/big",
               [](const Request&, Respond respond) { respond({.body = std::string(kBig, 'b'), .content_type = "text/plain"}); });
  server.Route("POST", "/later", [this](const Request& request, Respond respond) { desk.Keep(request, std::move(respond)); });
  server.Route("GET", "/drop", [](const Request&, Respond) {});
  server.Route("GET", "/throw", [](const Request&, Respond) { throw std::runtime_error("thrown on purpose"); });
  if (auto started = server.Start(); !started) throw std::runtime_error(started.error().message);
}

}  // namespace partage::test
