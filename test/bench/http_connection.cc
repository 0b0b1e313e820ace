// SPDX-License-Identifier: Apache-2.0
#include "test/bench/http_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "test/bench/give_up.h"

namespace partage::bench {
namespace {

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// -1 when nobody listens.
int Dial(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return -1;
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

std::size_t ContentLength(std::string_view head) {
  constexpr std::string_view kName = "\r\nContent-Length: ";
  const auto at = head.find(kName);
  std::size_t length = 0;
  if (at == head.npos) GiveUp("an answer without Content-Length: {}", head);
  std::from_chars(head.data() + at + kName.size(), head.data() + head.size(), length);
  return length;
}

}  // namespace

HttpConnection::HttpConnection(std::uint16_t port) : fd_(Dial(port)) {
  if (fd_ < 0) GiveUp("nobody listens on port {}", port);
}

HttpConnection::~HttpConnection() { ::close(fd_); }

std::string_view HttpConnection::Post(std::string_view path, std::string_view body) {
  Send(
      fmt::format("POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", path, body.size()),
      body);
  if (!ReadReply()) GiveUp("POST {}: the connection was closed", path);
  if (status_ != 200) GiveUp("POST {}: {} {}", path, status_, body_);
  return body_;
}

bool HttpConnection::Ok(std::uint16_t port, std::string_view path) {
  const int fd = Dial(port);
  if (fd < 0) return false;
  const std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path);
  std::array<char, 16> start{};
  const bool sent = ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size());
  const bool answered = sent && ::recv(fd, start.data(), start.size(), MSG_WAITALL) == static_cast<ssize_t>(start.size());
  ::close(fd);
  return answered && std::string_view(start.data(), start.size()).starts_with("HTTP/1.1 200");
}

void HttpConnection::Send(std::string_view head, std::string_view body) {
  std::array<iovec, 2> parts = {{{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  // A blocking socket takes all of it, or the connection is broken.
  if (::sendmsg(fd_, &message, MSG_NOSIGNAL) != static_cast<ssize_t>(head.size() + body.size())) GiveUp("a request could not be sent");
}

bool HttpConnection::Receive() {
  std::array<char, 65536> piece;
  const auto n = ::recv(fd_, piece.data(), piece.size(), 0);
  if (n > 0) buffer_.append(piece.data(), static_cast<std::size_t>(n));
  return n > 0;
}

bool HttpConnection::ReadReply() {
  buffer_.clear();
  std::size_t head_end;
  while ((head_end = buffer_.find("\r\n\r\n")) == buffer_.npos) {
    if (!Receive()) return false;
  }
  const std::size_t length = ContentLength(std::string_view(buffer_).substr(0, head_end + 2));
  while (buffer_.size() < head_end + 4 + length) {
    if (!Receive()) return false;
  }
  std::from_chars(buffer_.data() + 9, buffer_.data() + 12, status_);
  body_ = std::string_view(buffer_).substr(head_end + 4, length);
  return true;
}

std::uint16_t FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0) GiveUp("no free port");
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

}  // namespace partage::bench
