// SPDX-License-Identifier: Apache-2.0

#include "http/exchange.h"

#include <catch2/catch.hpp>
#include <optional>
#include <stdexcept>

namespace partage::http {
namespace {

struct Delivery {
  int times = 0;
  Response response;
};

std::shared_ptr<Exchange> Make(Delivery& delivery, std::string target = "/path?a=1&b") {
  Body body;
  body.Append("the body");
  return std::make_shared<Exchange>(Head{.method = "POST", .target = std::move(target)}, std::move(body), [&](Response response, Body) {
    ++delivery.times;
    delivery.response = std::move(response);
  });
}

TEST_CASE("A request's parts are its method, path, query and body") {
  Delivery delivery;
  const auto exchange = Make(delivery);
  const auto& request = exchange->request();
  CHECK(request.method == "POST");
  CHECK(request.path == "/path");
  CHECK(request.query == "a=1&b");
  CHECK(request.body == "the body");
  exchange->Answer({});
}

TEST_CASE("A target without a question mark has no query") {
  CHECK(SplitTarget("/a").query.empty());
  CHECK(SplitTarget("/a?").query.empty());
  CHECK(SplitTarget("").path.empty());
  CHECK(SplitTarget("/a?b?c").query == "b?c");
}

TEST_CASE("The first answer is delivered and no other") {
  Delivery delivery;
  const auto eager = [](const Request&, const Respond& respond) {
    respond({.body = "1"});
    respond({.body = "2"});
  };
  Run(eager, Make(delivery));
  CHECK(delivery.times == 1);
  CHECK(delivery.response.body == "1");
}

TEST_CASE("A handler that lets its Respond go answers 500") {
  Delivery delivery;
  Run([](const Request&, Respond) {}, Make(delivery));
  CHECK(delivery.times == 1);
  CHECK(delivery.response.status == 500);
}

TEST_CASE("A handler that throws answers 500, or what it had answered before") {
  Delivery early, late;
  Run([](const Request&, Respond) { throw 1; }, Make(late));
  CHECK(late.response.status == 500);
  const auto answers_first = [](const Request&, const Respond& respond) {
    respond({.status = 201});
    throw std::runtime_error("after");
  };
  Run(answers_first, Make(early));
  CHECK(early.times == 1);
  CHECK(early.response.status == 201);
}

TEST_CASE("The request stays readable until a Respond kept for later is called") {
  Delivery delivery;
  Respond kept;
  const Request* request = nullptr;
  const auto keep = [&](const Request& r, Respond respond) {
    request = &r;
    kept = std::move(respond);
  };
  Run(keep, Make(delivery));
  CHECK(delivery.times == 0);
  CHECK(request->body == "the body");
  kept({.body = "late"});
  CHECK(delivery.response.body == "late");
}

}  // namespace
}  // namespace partage::http
