// SPDX-License-Identifier: Apache-2.0

#include "http/router.h"

namespace partage::http {
namespace {

constexpr std::size_t kQuoted = 128;  // how much of a stranger's path an answer repeats

/// "GET, HEAD" of the keys of a map.
template <class Map>
std::string Keys(const Map& map) {
  std::string keys;
  for (const auto& [key, value] : map) keys += (keys.empty() ? "" : ", ") + key;
  return keys;
}

template <class Methods>
Refusal WrongMethod(std::string_view method, std::string_view path, const Methods& methods) {
  const auto allowed = Keys(methods) + (methods.contains("GET") ? ", HEAD" : "");
  return {405, fmt::format("{} is not allowed on {}; use {}", method.substr(0, kQuoted), path, allowed), "Allow: " + allowed + "\r\n"};
}

}  // namespace

void Router::Add(std::string method, std::string path, Handler handler) { paths_[std::move(path)][std::move(method)] = std::move(handler); }

tl::expected<const Handler*, Refusal> Router::Find(std::string_view method, std::string_view path) const {
  const auto found = paths_.find(path);
  if (found == paths_.end()) return tl::unexpected(UnknownPath(path));
  const auto& methods = found->second;
  auto handler = methods.find(method);
  if (handler == methods.end() && method == "HEAD") handler = methods.find("GET");
  if (handler == methods.end()) return tl::unexpected(WrongMethod(method, path, methods));
  return &handler->second;
}

Refusal Router::UnknownPath(std::string_view path) const {
  return {404, fmt::format("no such path: {}; there is {}", path.substr(0, kQuoted), Keys(paths_)), {}};
}

}  // namespace partage::http
