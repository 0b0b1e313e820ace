// SPDX-License-Identifier: Apache-2.0

#include "http/router.h"

#include <catch2/catch.hpp>

namespace partage::http {
namespace {

Handler Named(std::string name) {
  return [name = std::move(name)](const Request&, Respond respond) { respond({.body = name}); };
}

std::string Served(const Router& router, std::string_view method, std::string_view path) {
  const auto found = router.Find(method, path);
  REQUIRE(found);
  std::string body;
  (**found)(Request{}, [&](Response response) { body = response.body; });
  return body;
}

Router Sample() {
  Router router;
  router.Add("GET", "/a", Named("get a"));
  router.Add("POST", "/a", Named("post a"));
  router.Add("POST", "/b", Named("post b"));
  return router;
}

TEST_CASE("Method and path choose the handler") {
  const auto router = Sample();
  CHECK(Served(router, "GET", "/a") == "get a");
  CHECK(Served(router, "POST", "/a") == "post a");
  CHECK(Served(router, "POST", "/b") == "post b");
}

TEST_CASE("HEAD is served where GET is") {
  CHECK(Served(Sample(), "HEAD", "/a") == "get a");
  CHECK(Sample().Find("HEAD", "/b").error().status == 405);
}

TEST_CASE("An unknown path is 404 and names the paths there are") {
  const auto refusal = Sample().Find("GET", "/A").error();
  CHECK(refusal.status == 404);
  CHECK(refusal.text == "no such path: /A; there is /a, /b");
}

TEST_CASE("A wrong method is 405 and names the right ones, in the Allow header too") {
  const auto refusal = Sample().Find("DELETE", "/a").error();
  CHECK(refusal.status == 405);
  CHECK(refusal.text == "DELETE is not allowed on /a; use GET, POST, HEAD");
  CHECK(refusal.headers == "Allow: GET, POST, HEAD\r\n");
}

TEST_CASE("What a stranger sent is cut short and made harmless in an error") {
  const auto refusal = Sample().Find("GET", "/\"\\\x01\xff" + std::string(5000, 'x')).error();
  CHECK(refusal.text.size() < 200);
  const auto response = ErrorResponse(refusal.status, refusal.text);
  CHECK(response.status == 404);
  CHECK(response.body.find("no such path: /????xxx") != std::string::npos);
}

}  // namespace
}  // namespace partage::http
