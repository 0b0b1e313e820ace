// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace partage::cli {

struct HttpReply {
  int status = 0;
  std::string body;
};

/// Talks to one server over one keep-alive connection, as kube-scheduler talks to an extender. Blocking. Not thread-safe.
class HttpClient {
 public:
  /// `url` is "http://HOST:PORT", with or without a path in front of all others. kInvalid when it is not.
  static Result<HttpClient> Make(const std::string& url, std::chrono::milliseconds timeout = std::chrono::seconds(30));
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;
  ~HttpClient();

  /// kUnavailable when the server cannot be reached, kUnknown when it did not answer. Any status is a reply.
  Result<HttpReply> Get(const std::string& path);
  Result<HttpReply> Post(const std::string& path, const std::string& json);
  Result<HttpReply> Delete(const std::string& path);

 private:
  class Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The body of a 200; otherwise kInvalid with status and body, after `what`.
Result<std::string> BodyOf(const Result<HttpReply>& reply, std::string_view what);

/// The body of a GET of `path` from a server used for nothing else; errors as Make, Get and BodyOf.
Result<std::string> GetBody(const std::string& url, const std::string& path, std::string_view what);

/// Percent-encodes a query parameter's value.
std::string EncodeParameter(std::string_view value);

}  // namespace partage::cli
