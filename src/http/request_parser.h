// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/body.h"
#include "http/refusal.h"

namespace partage::http {

inline constexpr std::size_t kMaxHeader = 16u << 10;

/// What the header of a request says.
struct Head {
  std::string method, target;
  std::uint64_t content_length = 0;
  bool chunked = false;
  bool keep_alive = false;
  bool expects_continue = false;  ///< the client waits for "100 Continue" before it sends the body
  bool has_body() const { return chunked || content_length > 0; }
};

/// Reads one request from bytes as they come, in pieces of any size. Behind it: Beast's parser. Not thread-safe.
///
/// Put takes the header; then a body with Content-Length is the caller's to read (content_length bytes follow), while a chunked one is fed to Put as well.
class RequestParser {
 public:
  /// Decoded chunks are appended to `body`, which must outlive the parser.
  RequestParser(std::size_t max_body, Body& body);
  ~RequestParser();

  /// Uses bytes from the front and returns how many; the rest must be offered again, with more behind it.
  std::size_t Put(std::string_view bytes);

  bool head_done() const;
  /// The header, and of a chunked body the last chunk, have been seen.
  bool done() const;
  /// Why the request cannot be served. Nothing may be Put any more.
  const std::optional<Refusal>& refusal() const { return refusal_; }
  /// REQUIRES: head_done().
  const Head& head() const { return head_; }
  Head TakeHead() { return std::move(head_); }

 private:
  class Beast;

  std::size_t PutAll(std::string_view bytes);
  void CheckSize(std::size_t offered, std::size_t used);

  std::unique_ptr<Beast> beast_;
  Head head_;
  std::optional<Refusal> refusal_;
  std::size_t max_body_;
  std::size_t header_size_ = 0;
};

}  // namespace partage::http
