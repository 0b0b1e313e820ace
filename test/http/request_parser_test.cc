// SPDX-License-Identifier: Apache-2.0

#include "http/request_parser.h"

#include <catch2/catch.hpp>
#include <random>

namespace partage::http {
namespace {

constexpr std::size_t kLimit = 1000;
constexpr std::string_view kChunked =
    "POST /filter?x=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "4\r\nWiki\r\n5;name=value\r\npedia\r\n0\r\nTrailer: x\r\n\r\n";

/// A parser fed through a buffer, as a connection does it.
struct Feed {
  Body body;
  RequestParser parser{kLimit, body};
  std::string pending;

  void Put(std::string_view bytes) {
    pending += bytes;
    for (std::size_t used = 1; used > 0 && NeedsMore(); pending.erase(0, used)) used = parser.Put(pending);
  }
  bool NeedsMore() const { return !parser.refusal() && !parser.done() && (!parser.head_done() || parser.head().chunked); }
  void PutEach(std::string_view bytes, std::size_t size) {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) Put(bytes.substr(0, size));
  }
  int status() const { return parser.refusal() ? parser.refusal()->status : 0; }
};

int StatusFor(std::string_view bytes) {
  Feed feed;
  feed.Put(bytes);
  return feed.status();
}

TEST_CASE("A header is read in pieces of any size") {
  const std::string_view bytes = "POST /bind?a HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nExpect: 100-Continue\r\n\r\n";
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    Feed feed;
    feed.PutEach(bytes, size);
    REQUIRE(feed.parser.head_done());
    CHECK_FALSE(feed.parser.done());
    const auto& head = feed.parser.head();
    CHECK(head.method == "POST");
    CHECK(head.target == "/bind?a");
    CHECK(head.content_length == 7);
    CHECK(head.keep_alive);
    CHECK(head.expects_continue);
  }
}

TEST_CASE("A chunked body without any chunk but the last is read in pieces of any size") {
  for (const std::string_view end : {"0\r\n\r\n", "0\r\nTrailer: x\r\n\r\n"}) {
    for (std::size_t size = 1; size <= end.size(); ++size) {
      Feed feed;
      feed.Put("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
      feed.PutEach(end, size);
      CHECK(feed.parser.done());
      CHECK(feed.body.size() == 0);
      CHECK(feed.pending.empty());
    }
  }
}

TEST_CASE("Body bytes behind the header are left to the caller") {
  Feed feed;
  feed.Put("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET");
  CHECK(feed.parser.head_done());
  CHECK(feed.pending == "abcGET");
}

TEST_CASE("A request without a body is done with its header") {
  Feed feed;
  feed.Put("GET / HTTP/1.1\r\n\r\nGET");
  CHECK(feed.parser.done());
  CHECK(feed.pending == "GET");
}

TEST_CASE("Chunks are joined whatever the pieces they come in, and the next request is left alone") {
  for (std::size_t size = 1; size <= kChunked.size(); ++size) {
    Feed feed;
    feed.PutEach(kChunked, size);
    feed.Put("GET /next");
    INFO("pieces of " << size);
    REQUIRE(feed.parser.done());
    CHECK(feed.body.view() == "Wikipedia");
    CHECK(feed.pending == "GET /next");
  }
}

TEST_CASE("HTTP/1.0 and Connection: close end the connection") {
  Feed close, old;
  close.Put("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK_FALSE(close.parser.head().keep_alive);
  old.Put("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK_FALSE(old.parser.head().keep_alive);
}

TEST_CASE("What is not HTTP is 400") {
  CHECK(StatusFor("\x16\x03\x01\x02") == 400);
  CHECK(StatusFor("hello\r\n\r\n") == 400);
  CHECK(StatusFor("GET  / HTTP/1.1\r\n\r\n") == 400);
  CHECK(StatusFor("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 400);
  CHECK(StatusFor("GET / HTTP/1.1\r\nno colon\r\n\r\n") == 400);
  CHECK(StatusFor("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n") == 400);
  CHECK(StatusFor("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n") == 400);
}

TEST_CASE("A request whose length could be read in two ways is refused") {
  CHECK(StatusFor("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n") == 400);
  CHECK(StatusFor("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n") == 501);
  CHECK(StatusFor("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n") == 501);
  CHECK(StatusFor("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n") != 0);
  CHECK(StatusFor("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n") != 0);
}

TEST_CASE("A body over the limit is 413 as soon as that is known") {
  CHECK(StatusFor("POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n") == 0);
  CHECK(StatusFor("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n") == 413);
  CHECK(StatusFor("POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n") == 413);
  const std::string header = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(StatusFor(header + "3e9\r\n") == 413);
  CHECK(StatusFor(header + "3e8\r\n" + std::string(1000, 'x') + "\r\n1\r\n") == 413);
}

TEST_CASE("A header over 16 KiB is 431, in one line or in many, finished or not") {
  const std::string line = "GET / HTTP/1.1\r\n";
  CHECK(StatusFor(line + "A: " + std::string(kMaxHeader, 'x')) == 431);
  CHECK(StatusFor("GET /" + std::string(kMaxHeader, 'x')) == 431);
  std::string many = line;
  while (many.size() <= kMaxHeader) many += "Some-Field: some value\r\n";
  CHECK(StatusFor(many) == 431);
  CHECK(StatusFor(many + "\r\n") == 431);
  CHECK(StatusFor(line + "A: " + std::string(kMaxHeader - 100, 'x') + "\r\n\r\n") == 0);
}

TEST_CASE("A chunk header without end is refused, not collected") {
  Feed feed;
  feed.Put("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;");
  for (int i = 0; i < 40 && !feed.parser.refusal(); ++i) feed.Put(std::string(1000, 'x'));
  CHECK(feed.status() == 400);
  CHECK(feed.pending.size() < 2 * kMaxHeader);
}

TEST_CASE("Damaged requests never crash the parser") {
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    std::string bytes(kChunked);
    for (int n = 0; n < 3; ++n) bytes[random() % bytes.size()] = static_cast<char>(random());
    Feed feed;
    feed.PutEach(bytes, 1 + random() % 20);
    CHECK(feed.body.size() <= kLimit);
  }
}

}  // namespace
}  // namespace partage::http
