// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/endpoint.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <system_error>

namespace partage::k8s {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::string Reason(int error) { return std::generic_category().message(error); }

void SetOption(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

void SetOptions(int fd) {
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
}

// 0 when the pending connect() succeeded, else its errno.
int WaitConnected(int fd, SteadyClock::time_point deadline, const std::stop_token& stop) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - SteadyClock::now());
    if (stop.stop_requested()) return ECANCELED;
    if (left.count() <= 0) return ETIMEDOUT;
    pollfd ready{fd, POLLOUT, 0};
    if (::poll(&ready, 1, static_cast<int>(std::min(left, kStopLook).count())) <= 0) continue;
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
  }
}

// A connected socket, or -1 and `error`.
int ConnectTo(const addrinfo& address, SteadyClock::time_point deadline, const std::stop_token& stop, int& error) {
  const int fd = ::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
  if (fd < 0) return error = errno, -1;
  SetOptions(fd);
  error = ::connect(fd, address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) error = WaitConnected(fd, deadline, stop);
  if (error == 0) return fd;
  ::close(fd);
  return -1;
}

Result<int> ParsePort(std::string_view text, const std::string& url) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535) {
    return Fail(Code::kInvalid, "server \"{}\": port \"{}\" is not a number from 1 to 65535", url, text);
  }
  return port;
}

}  // namespace

std::string Endpoint::Authority() const {
  const bool ipv6 = host.find(':') != host.npos;
  return fmt::format("{}{}{}:{}", ipv6 ? "[" : "", host, ipv6 ? "]" : "", port);
}

Result<Endpoint> ParseEndpoint(const std::string& url) {
  Endpoint endpoint;
  std::string_view rest = url;
  endpoint.tls = rest.starts_with("https://");
  if (!endpoint.tls && !rest.starts_with("http://")) {
    return Fail(Code::kInvalid, "server \"{}\" is not a URL like https://10.0.0.1:6443", url);
  }
  rest.remove_prefix(endpoint.tls ? 8 : 7);
  const auto path = std::min(rest.find('/'), rest.size());
  endpoint.prefix = rest.substr(path);
  while (endpoint.prefix.ends_with('/')) endpoint.prefix.pop_back();
  rest = rest.substr(0, path);
  const bool bracket = rest.starts_with('[');
  if (bracket && rest.find(']') == rest.npos) return Fail(Code::kInvalid, "server \"{}\": the [ of the address is not closed", url);
  const auto host_end = std::min(bracket ? rest.find(']') : rest.find(':'), rest.size());
  endpoint.host = rest.substr(bracket, host_end - bracket);
  rest.remove_prefix(std::min(host_end + bracket, rest.size()));
  if (endpoint.host.empty() || endpoint.host.find_first_of(" @?#\t\r\n") != std::string::npos) {
    return Fail(Code::kInvalid, "server \"{}\" has no usable host name", url);
  }
  if (rest.empty()) {
    endpoint.port = endpoint.tls ? 443 : 80;
    return endpoint;
  }
  auto port = ParsePort(rest.substr(1), url);
  if (!port) return Fail(port.error());
  endpoint.port = *port;
  return endpoint;
}

bool IsIpAddress(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 || ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

Result<int> Dial(const Endpoint& endpoint, milliseconds timeout, const std::stop_token& stop) {
  const auto deadline = SteadyClock::now() + timeout;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  if (IsIpAddress(endpoint.host)) hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failed = ::getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found); failed != 0) {
    return Fail(Code::kUnavailable, "cannot resolve {}: {}", endpoint.host, ::gai_strerror(failed));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  int error = EADDRNOTAVAIL;
  for (const auto* address = addresses.get(); address != nullptr; address = address->ai_next) {
    if (const int fd = ConnectTo(*address, deadline, stop, error); fd >= 0) return fd;
  }
  return Fail(Code::kUnavailable, "cannot connect to {}: {}", endpoint.Authority(), Reason(error));
}

}  // namespace partage::k8s
