// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "http/server.h"

namespace partage::http {

/// A request answered without a handler: status, a sentence for the client, and header lines of its own ("Allow: GET\r\n").
struct Refusal {
  int status = 400;
  std::string text;
  std::string headers;
};

/// {"error":"…"}. Bytes of the text that JSON would have to escape become '?': part of it may be what a stranger sent.
Response ErrorResponse(int status, std::string_view text);

}  // namespace partage::http
