// SPDX-License-Identifier: Apache-2.0

#include "http/request_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace partage::http {
namespace {

namespace beast = boost::beast;
using boost::system::error_code;

// Beast asserts that it is offered the last chunk ("0\r\n\r\n") whole once it has seen its size: what may be a piece of one waits for the rest.
bool MayBePartOfLastChunk(std::string_view bytes) {
  constexpr std::size_t kShortest = 5;
  return bytes.size() < kShortest && (bytes.front() == '0' || bytes.front() == '\r');
}

Refusal Explain(const error_code& ec, std::size_t max_body) {
  using beast::http::error;
  if (ec == error::header_limit)
    return {431, fmt::format("the request header is over {} bytes; send fewer or shorter fields", kMaxHeader), {}};
  if (ec == error::body_limit) return {413, fmt::format("the body is over {} bytes; send less at once", max_body), {}};
  if (ec == error::bad_transfer_encoding) return {501, "of transfer codings only chunked is served; send that or Content-Length", {}};
  return {400, fmt::format("not an HTTP/1.1 request: {}; this port speaks plain HTTP/1.1, neither TLS nor HTTP/2", ec.message()), {}};
}

}  // namespace

/// Keeps of a request what the server needs, instead of a list of all fields.
class RequestParser::Beast final : public beast::http::basic_parser<true> {
 public:
  Beast(std::size_t max_body, Head& head, Body& body) : head_(head), body_(body) {
    header_limit(kMaxHeader);
    body_limit(max_body);
  }

 private:
  using verb = beast::http::verb;
  using field = beast::http::field;
  using view = beast::string_view;

  void on_request_impl(verb, view method, view target, int version, error_code&) override {
    head_.keep_alive = version == 11;  // 1.0 has its own rules for it, which nobody needs here
    head_.method.assign(method.data(), method.size());
    head_.target.assign(target.data(), target.size());
  }
  void on_field_impl(field name, view, view value, error_code& ec) override {
    if (name == field::expect) head_.expects_continue = beast::iequals(value, "100-continue");
    // Beast takes "gzip, chunked" for chunked and any other coding for no body at all: either would be misread.
    if (name == field::transfer_encoding && !beast::iequals(value, "chunked")) ec = beast::http::error::bad_transfer_encoding;
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(view bytes, error_code&) override { return bytes.size(); }
  void on_chunk_header_impl(std::uint64_t, view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, view bytes, error_code&) override {
    body_.Append({bytes.data(), bytes.size()});
    return bytes.size();
  }
  void on_response_impl(int, view, int, error_code&) override {}
  void on_finish_impl(error_code&) override {}

  Head& head_;
  Body& body_;
};

RequestParser::RequestParser(std::size_t max_body, Body& body)
    : beast_(std::make_unique<Beast>(max_body, head_, body)), max_body_(max_body) {}

RequestParser::~RequestParser() = default;

bool RequestParser::head_done() const { return beast_->is_header_done(); }

bool RequestParser::done() const { return beast_->is_done(); }

std::size_t RequestParser::Put(std::string_view bytes) {
  const bool in_header = !head_done();
  const auto used = PutAll(bytes);
  if (in_header) header_size_ += used;
  if (!refusal_) CheckSize(bytes.size(), used);
  if (in_header && head_done() && !refusal_) {
    head_.content_length = beast_->content_length().value_or(0);
    head_.chunked = beast_->chunked();
    head_.keep_alive = head_.keep_alive && beast_->keep_alive();
  }
  return used;
}

/// Beast's put stops after each part (header, chunk header, chunk); this one only after the header and at the end.
std::size_t RequestParser::PutAll(std::string_view bytes) {
  const bool in_header = !head_done();
  std::size_t used = 0;
  error_code ec;
  while (!ec && used < bytes.size() && !done() && in_header != head_done()) {
    if (!in_header && beast_->chunked() && MayBePartOfLastChunk(bytes.substr(used))) break;
    used += beast_->put({bytes.data() + used, bytes.size() - used}, ec);
  }
  if (ec && ec != beast::http::error::need_more) refusal_ = Explain(ec, max_body_);
  return used;
}

/// Beast limits the start line and the fields each on their own, and the lines between chunks not at all.
void RequestParser::CheckSize(std::size_t offered, std::size_t used) {
  const auto pending = offered - used;
  if (header_size_ + (head_done() ? 0 : pending) > kMaxHeader) refusal_ = Explain(beast::http::error::header_limit, max_body_);
  if (head_done() && beast_->chunked() && !done() && pending > kMaxHeader) refusal_ = {400, "chunk header or trailer is too long", {}};
}

}  // namespace partage::http
