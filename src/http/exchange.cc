// SPDX-License-Identifier: Apache-2.0

#include "http/exchange.h"

#include "base/log.h"

namespace partage::http {

Target SplitTarget(std::string_view target) {
  const auto mark = std::min(target.find('?'), target.size());
  return {target.substr(0, mark), target.substr(std::min(mark + 1, target.size()))};
}

Exchange::Exchange(Head head, Body body, Deliver deliver) : head_(std::move(head)), body_(std::move(body)), deliver_(std::move(deliver)) {
  body_.Seal();
  const auto target = SplitTarget(head_.target);
  request_ = {.method = head_.method, .path = target.path, .query = target.query, .body = body_.view()};
}

Exchange::~Exchange() {
  if (answered_) return;
  log::error("{} {}: its handler gave no answer", request_.method, request_.path);
  Answer(ErrorResponse(500, "the server failed to answer this request; its log says more"));
}

void Exchange::Answer(Response response) {
  if (!answered_.exchange(true)) deliver_(std::move(response), std::move(body_));
}

void Run(const Handler& handler, std::shared_ptr<Exchange> exchange) {
  const Request& request = exchange->request();
  const auto name = fmt::format("{} {}", request.method, request.path);
  try {
    handler(request, [exchange = std::move(exchange)](Response response) { exchange->Answer(std::move(response)); });
  } catch (const std::exception& e) {
    log::error("{}: its handler threw: {}", name, e.what());
  } catch (...) {
    log::error("{}: its handler threw something that is no std::exception", name);
  }
}

}  // namespace partage::http
