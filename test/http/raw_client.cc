// SPDX-License-Identifier: Apache-2.0

#include "test/http/raw_client.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace partage::test {
namespace {

template <class Value>
void Set(int socket, int level, int option, const Value& value) {
  ::setsockopt(socket, level, option, &value, sizeof value);
}

std::size_t ContentLength(std::string_view header) {
  constexpr std::string_view kField = "Content-Length: ";
  const auto at = header.find(kField);
  return at == header.npos ? 0 : std::strtoul(header.data() + at + kField.size(), nullptr, 10);
}

}  // namespace

RawClient::RawClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  Set(socket_, SOL_SOCKET, SO_RCVTIMEO, timeval{10, 0});
  Set(socket_, SOL_SOCKET, SO_SNDTIMEO, timeval{10, 0});
  Set(socket_, IPPROTO_TCP, TCP_NODELAY, 1);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) throw std::runtime_error("cannot connect");
}

RawClient::RawClient(RawClient&& other) noexcept : socket_(std::exchange(other.socket_, -1)), buffer_(std::move(other.buffer_)) {}

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool RawClient::Fill() {
  char bytes[65536];
  const auto received = ::recv(socket_, bytes, sizeof bytes, 0);
  if (received > 0) buffer_.append(bytes, static_cast<std::size_t>(received));
  return received > 0;
}

std::string RawClient::Receive(bool with_body) {
  auto end = buffer_.find("\r\n\r\n");
  for (; end == buffer_.npos; end = buffer_.find("\r\n\r\n")) {
    if (!Fill()) return std::exchange(buffer_, {});
  }
  const auto size = end + 4 + (with_body ? ContentLength(buffer_.substr(0, end + 2)) : 0);
  while (buffer_.size() < size && Fill()) continue;
  auto response = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return response;
}

std::string RawClient::Ask(std::string_view bytes) {
  Send(bytes);
  return Receive();
}

bool RawClient::Readable(std::chrono::milliseconds within) const {
  pollfd wait{socket_, POLLIN, 0};
  return !buffer_.empty() || ::poll(&wait, 1, static_cast<int>(within.count())) > 0;
}

bool RawClient::AtEnd() { return !Fill() && buffer_.empty(); }

void RawClient::Close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void RawClient::Reset() {
  Set(socket_, SOL_SOCKET, SO_LINGER, linger{1, 0});
  Close();
}

std::string Get(std::string_view path, std::string_view more_fields) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", path, more_fields);
}

std::string Post(std::string_view path, std::string_view body, std::string_view more_fields) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: test\r\n{}Content-Length: {}\r\n\r\n{}", path, more_fields, body.size(), body);
}

int StatusOf(std::string_view response) { return response.size() < 12 ? 0 : std::atoi(std::string(response.substr(9, 3)).c_str()); }

std::string BodyOf(std::string_view response) {
  const auto end = response.find("\r\n\r\n");
  return std::string(end == response.npos ? "" : response.substr(end + 4));
}

}  // namespace partage::test
