// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/refusal.h"
#include "http/server.h"

namespace partage::http {

/// Which handler serves a method and path. Filled before the server starts, immutable after: then thread-safe.
class Router {
 public:
  void Add(std::string method, std::string path, Handler handler);

  /// The handler, or why there is none (404, 405 with Allow). A GET handler serves HEAD too. The pointer lives as long as the router.
  tl::expected<const Handler*, Refusal> Find(std::string_view method, std::string_view path) const;

 private:
  using Methods = std::map<std::string, Handler, std::less<>>;

  Refusal UnknownPath(std::string_view path) const;

  std::map<std::string, Methods, std::less<>> paths_;
};

}  // namespace partage::http
