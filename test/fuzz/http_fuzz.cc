// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <string>
#include <tuple>

#include "base/check.h"
#include "http/request_parser.h"
#include "http/server.h"
#include "k8s/client/endpoint.h"
#include "test/fuzz/fuzz.h"

namespace partage::fuzz {
namespace {

constexpr std::size_t kMostBody = 1000;

struct Outcome {
  int refused = 0;
  bool head_done = false, done = false;
  std::string method, target, body;
  bool operator==(const Outcome&) const = default;
};

// What the parser says of bytes that come in pieces of this size, offered again where it left some.
Outcome Read(std::string_view input, std::size_t piece) {
  http::Body body;
  http::RequestParser parser(kMostBody, body);
  std::string pending;
  const auto wants_more = [&] { return !parser.refusal() && !parser.done() && (!parser.head_done() || parser.head().chunked); };
  for (; !input.empty() && wants_more(); input.remove_prefix(std::min(piece, input.size()))) {
    pending += input.substr(0, piece);
    for (std::size_t used = 1; used > 0 && wants_more(); pending.erase(0, used)) used = parser.Put(pending);
  }
  if (parser.refusal()) return {.refused = parser.refusal()->status};
  if (!parser.head_done()) return {};
  // How much of a body has been passed on before its end is the parser's own affair.
  return {0, true, parser.done(), parser.head().method, parser.head().target, std::string(parser.done() ? body.view() : "")};
}

const Registered kRequest("http_request", [](std::string_view input) {
  const auto whole = Read(input, input.size() + 1);
  PARTAGE_CHECK(whole.body.size() <= kMostBody, "no body is larger than it may be");
  if (whole.refused == 0) PARTAGE_CHECK(whole == Read(input, 1), "a request is the same however its bytes were cut");
});

const Registered kAddress("address", [](std::string_view input) {
  const auto pieces = Pieces(input, 2);
  (void)http::ParseEndpoint(pieces[0]);
  (void)http::QueryParameter(pieces[1], "pod");
  (void)k8s::ParseEndpoint(std::string(pieces[0]));
});

}  // namespace
}  // namespace partage::fuzz
