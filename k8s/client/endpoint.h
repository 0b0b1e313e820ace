// SPDX-License-Identifier: Apache-2.0
// Private to this folder: where the API server is, and a TCP connection to it.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "base/result.h"

namespace partage::k8s {

/// How late a stop request is seen by who waits for a socket.
inline constexpr std::chrono::milliseconds kStopLook{100};

/// A server's URL, taken apart. Immutable.
struct Endpoint {
  bool tls = false;
  std::string host;  ///< without brackets
  int port = 0;
  std::string prefix;  ///< path in front of every request, "" or "/k8s/c1"

  /// "host:port", "[::1]:port": the Host header, and for messages.
  std::string Authority() const;
};

/// "http[s]://host[:port][/prefix]". kInvalid for anything else.
Result<Endpoint> ParseEndpoint(const std::string& url);

/// True for a literal IPv4 or IPv6 address.
bool IsIpAddress(const std::string& host);

/// Connects within `timeout` over all addresses of the host, or until `stop`. The socket is non-blocking, without Nagle's delay, and notices a dead peer
/// within about a minute. kUnavailable names the address and the reason.
Result<int> Dial(const Endpoint& endpoint, std::chrono::milliseconds timeout, const std::stop_token& stop);

}  // namespace partage::k8s
