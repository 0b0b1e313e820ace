// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "base/check.h"

namespace partage::test {
namespace {

std::string Decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() && std::from_chars(&text[i + 1], &text[i + 1] + 2, value, 16).ec == std::errc()) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

// Cuts `text` at the first `mark` and returns what was in front of it; all of it when there is none.
std::string_view Cut(std::string_view& text, std::string_view mark) {
  const auto at = text.find(mark);
  const auto head = text.substr(0, at);
  text.remove_prefix(at == text.npos ? text.size() : at + mark.size());
  return head;
}

void ParseTarget(std::string_view target, HttpRequest& request) {
  request.path = Decode(Cut(target, "?"));
  while (!target.empty()) {
    auto pair = Cut(target, "&");
    const auto name = Cut(pair, "=");
    request.query[Decode(name)] = Decode(pair);
  }
}

// Head of a request without the final empty line → members of `request`; returns the length of the body.
std::size_t ParseHead(std::string_view head, HttpRequest& request) {
  auto line = Cut(head, "\r\n");
  request.method = Cut(line, " ");
  ParseTarget(Cut(line, " "), request);
  std::size_t length = 0;
  while (!head.empty()) {
    auto value = Cut(head, "\r\n");
    std::string name(Cut(value, ":"));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    while (value.starts_with(' ')) value.remove_prefix(1);
    if (name == "content-length") std::from_chars(value.data(), value.data() + value.size(), length);
    if (name == "authorization") request.authorization = value;
    if (name == "content-type") request.content_type = value;
  }
  return length;
}

std::string Head(int status, std::size_t length, std::string_view headers) {
  return fmt::format("HTTP/1.1 {} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n", status, length, headers);
}

bool Receive(int fd, std::string& buffer) {
  std::array<char, 16384> piece;
  const auto n = ::recv(fd, piece.data(), piece.size(), 0);
  if (n > 0) buffer.append(piece.data(), static_cast<std::size_t>(n));
  return n > 0;
}

}  // namespace

bool HttpReply::Write(std::string_view data) {
  while (!data.empty() && !dropped_) {
    const auto n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
    if (n <= 0) dropped_ = true;
    data.remove_prefix(n > 0 ? static_cast<std::size_t>(n) : 0);
  }
  return !dropped_;
}

void HttpReply::SendHalf(int status, std::string_view body, bool reset) {
  if (Write(Head(status, body.size(), {}))) Write(body.substr(0, body.size() / 2));
  Drop(reset);
}

void HttpReply::Send(int status, std::string_view body, std::string_view headers) {
  busy_ = false;
  auto message = Head(status, body.size(), headers);
  if (body.size() < 4096) {
    message += body;
    Write(message);
  } else if (Write(message)) {
    Write(body);
  }
}

bool HttpReply::Begin(int status) {
  return Write(fmt::format("HTTP/1.1 {} Status\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", status));
}

bool HttpReply::Chunk(std::string_view data) {
  if (data.empty()) return !dropped_;
  return Write(fmt::format("{:x}\r\n{}\r\n", data.size(), data));
}

bool HttpReply::End() {
  busy_ = false;
  return Write("0\r\n\r\n");
}

void HttpReply::Drop(bool reset) {
  if (reset) {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  dropped_ = true;
}

bool HttpReply::ClientGone() const {
  pollfd state{fd_, POLLRDHUP, 0};
  return dropped_ || (::poll(&state, 1, 0) > 0 && state.revents != 0);
}

void FakeListener::Start() {
  PARTAGE_CHECK(stopping_, "Start() of a started listener");
  listen_fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listen_fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port_));
  socklen_t size = sizeof address;
  PARTAGE_CHECK(::bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), size) == 0, "cannot bind the loopback port");
  PARTAGE_CHECK(::listen(listen_fd_, 1024) == 0, "cannot listen");
  ::getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  stopping_ = false;
  acceptor_ = std::thread([this] { Accept(); });
}

void FakeListener::Stop() {
  {
    MutexLock lock(mutex_);
    if (stopping_.exchange(true)) return;
    stop_signal_.notify_all();
    ::shutdown(listen_fd_, SHUT_RDWR);
  }
  acceptor_.join();
  ::close(listen_fd_);
  Reap(true);
}

void FakeListener::Accept() {
  while (!stopping_) {
    const int fd = ::accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      Sleep(std::chrono::milliseconds(10));  // out of descriptors: others will close theirs
      continue;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ++accepted_;
    Reap(false);
    MutexLock lock(mutex_);
    auto& connection = connections_.emplace_back();
    connection.fd = fd;
    connection.thread = std::thread([this, &connection] { Serve(connection); });
  }
}

void FakeListener::Serve(Connection& connection) {
  std::string buffer;
  HttpReply reply(connection.fd, connection.busy);
  HttpRequest request;
  while (!stopping_ && !reply.dropped() && ReadRequest(connection, buffer, request)) {
    handler_(request, reply);
    request = {};
  }
  MutexLock lock(mutex_);
  ::close(connection.fd);
  connection.fd = -1;
  connection.ended = true;
}

bool FakeListener::ReadRequest(Connection& connection, std::string& buffer, HttpRequest& request) {
  std::size_t head_end;
  while ((head_end = buffer.find("\r\n\r\n")) == buffer.npos) {
    if (!Receive(connection.fd, buffer)) return false;
    connection.busy = true;
  }
  const auto length = ParseHead(std::string_view(buffer).substr(0, head_end), request);
  while (buffer.size() < head_end + 4 + length) {
    if (!Receive(connection.fd, buffer)) return false;
  }
  request.body = buffer.substr(head_end + 4, length);
  buffer.erase(0, head_end + 4 + length);
  return true;
}

void FakeListener::CloseIdle() {
  MutexLock lock(mutex_);
  for (auto& connection : connections_) {
    if (!connection.busy && connection.fd >= 0) ::shutdown(connection.fd, SHUT_RDWR);
  }
}

bool FakeListener::Sleep(std::chrono::nanoseconds time) {
  MutexLock lock(mutex_);
  return !stop_signal_.wait_for(mutex_, time, [this] { return stopping_.load(); });
}

void FakeListener::Reap(bool all) {
  std::list<Connection> ended;
  {
    MutexLock lock(mutex_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      const auto next = std::next(it);
      if (all && it->fd >= 0) ::shutdown(it->fd, SHUT_RDWR);
      if (all || it->ended) ended.splice(ended.end(), connections_, it);
      it = next;
    }
  }
  for (auto& connection : ended) connection.thread.join();
}

}  // namespace partage::test
