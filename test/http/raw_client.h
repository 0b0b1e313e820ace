// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace partage::test {

/// A blocking TCP client on loopback that sends exactly the bytes it is told to, as no HTTP library would. Every wait ends after 10 s at the latest.
/// Used by one thread at a time.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  ~RawClient() { Close(); }
  RawClient(RawClient&& other) noexcept;
  RawClient& operator=(RawClient&&) = delete;

  /// False when the server has closed the connection.
  bool Send(std::string_view bytes);
  /// One whole response, header and body; what came of it when the connection ends first. Interim "100 Continue" responses count as responses.
  /// `with_body` false: of a HEAD request.
  std::string Receive(bool with_body = true);
  /// Send and Receive.
  std::string Ask(std::string_view bytes);
  /// True when something, or the end, has come within that time.
  bool Readable(std::chrono::milliseconds within) const;
  /// True when the server closes the connection without sending anything more.
  bool AtEnd();
  void Close();
  /// Its descriptor, for another protocol on top.
  int socket() const { return socket_; }
  /// Closes with a reset, as a killed client's kernel does.
  void Reset();

 private:
  bool Fill();

  int socket_;
  std::string buffer_;
};

/// "GET path HTTP/1.1" with a Host field.
std::string Get(std::string_view path, std::string_view more_fields = "");
/// "POST path HTTP/1.1" with Content-Length and the body.
std::string Post(std::string_view path, std::string_view body, std::string_view more_fields = "");

/// Of a response.
int StatusOf(std::string_view response);
std::string BodyOf(std::string_view response);

}  // namespace partage::test
