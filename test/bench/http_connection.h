// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace partage::bench {

/// One keep-alive connection to a server on loopback, as thin as it can be: what is measured should be the server. Used by one thread.
class HttpConnection {
 public:
  /// Gives up when nobody listens.
  explicit HttpConnection(std::uint16_t port);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  /// The body of the answer, valid until the next call. Gives up unless the status is 200.
  std::string_view Post(std::string_view path, std::string_view body);

  /// Whether a GET of `path` is answered with 200 now.
  static bool Ok(std::uint16_t port, std::string_view path);

 private:
  void Send(std::string_view head, std::string_view body);
  bool Receive();
  bool ReadReply();

  int fd_;
  std::string buffer_;
  int status_ = 0;
  std::string_view body_;
};

/// A loopback port nobody listens on.
std::uint16_t FreePort();

}  // namespace partage::bench
