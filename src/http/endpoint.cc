// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <charconv>

#include "http/server.h"

namespace partage::http {
namespace {

Result<std::uint16_t> ParsePort(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (ec != std::errc{} || end != text.data() + text.size())
    return Fail(Code::kInvalid, "port \"{}\" is not a number from 0 to 65535", text);
  return port;
}

/// "[::1]" without its brackets; names and IPv4 addresses as they are.
Result<std::string> ParseHost(std::string_view text) {
  const bool bracketed = text.size() > 2 && text.front() == '[' && text.back() == ']';
  if (bracketed) text = text.substr(1, text.size() - 2);
  const auto odd = [](unsigned char c) { return c <= ' ' || c >= 0x7f || c == '[' || c == ']' || c == '/'; };
  if (std::any_of(text.begin(), text.end(), odd)) return Fail(Code::kInvalid, "host \"{}\" is neither a name nor an address", text);
  if (!bracketed && text.find(':') != text.npos) return Fail(Code::kInvalid, "an IPv6 address stands in brackets: write [{}]", text);
  return std::string(text);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The byte that "%XX" at `at` stands for, or -1.
int EscapedByte(std::string_view text, std::size_t at) {
  if (text[at] != '%' || at + 2 >= text.size()) return -1;
  const int high = HexDigit(text[at + 1]), low = HexDigit(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string Decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int byte = EscapedByte(text, i);
    decoded += byte >= 0 ? static_cast<char>(byte) : text[i] == '+' ? ' ' : text[i];
    if (byte >= 0) i += 2;
  }
  return decoded;
}

}  // namespace

Result<Endpoint> ParseEndpoint(std::string_view text) {
  const auto context = fmt::format("address \"{}\"", text);
  const auto colon = text.rfind(':');
  if (colon == text.npos) return Fail(Code::kInvalid, "{}: no port; write HOST:PORT, e.g. 127.0.0.1:9395", context);
  auto port = ParsePort(text.substr(colon + 1));
  if (!port) return Fail(port.error(), context);
  auto host = ParseHost(text.substr(0, colon));
  if (!host) return Fail(host.error(), context);
  return Endpoint{std::move(*host), *port};
}

std::string QueryParameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const auto pair = query.substr(0, query.find('&'));
    const auto equals = std::min(pair.find('='), pair.size());
    if (Decode(pair.substr(0, equals)) == name) return Decode(pair.substr(std::min(equals + 1, pair.size())));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
  }
  return {};
}

}  // namespace partage::http
