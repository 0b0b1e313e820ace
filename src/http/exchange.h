// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "http/body.h"
#include "http/request_parser.h"
#include "http/server.h"

namespace partage::http {

/// One request on its way through a handler. Owned by the copies of its Respond, so that the request stays readable for a handler that answers
/// after the client, or the server, has gone. Thread-safe.
class Exchange {
 public:
  /// Takes the answer and the body's memory, on whatever thread answers.
  using Deliver = std::function<void(Response, Body)>;

  Exchange(Head head, Body body, Deliver deliver);
  /// Nobody answered: 500.
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const Request& request() const { return request_; }
  /// Delivers; once.
  void Answer(Response response);

 private:
  Head head_;
  Body body_;
  Request request_;
  Deliver deliver_;
  std::atomic<bool> answered_ = false;
};

/// Path and query of a request target.
struct Target {
  std::string_view path, query;
};
Target SplitTarget(std::string_view target);

/// Calls the handler. If it throws, the exchange answers 500 and the fault is logged.
void Run(const Handler& handler, std::shared_ptr<Exchange> exchange);

}  // namespace partage::http
