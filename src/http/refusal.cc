// SPDX-License-Identifier: Apache-2.0

#include "http/refusal.h"

#include <algorithm>

namespace partage::http {

Response ErrorResponse(int status, std::string_view text) {
  std::string safe(text);
  const auto unsafe = [](unsigned char c) { return c < ' ' || c >= 0x7f || c == '"' || c == '\\'; };
  std::replace_if(safe.begin(), safe.end(), unsafe, '?');
  return {.status = status, .body = R"({"error":")" + safe + "\"}\n"};
}

}  // namespace partage::http
