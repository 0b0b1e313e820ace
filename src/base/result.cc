// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

namespace partage {

std::string_view ToString(Code code) {
  switch (code) {
    case Code::kInvalid: return "invalid";
    case Code::kNotFound: return "not_found";
    case Code::kConflict: return "conflict";
    case Code::kUnavailable: return "unavailable";
    case Code::kUnknown: return "unknown";
    case Code::kInternal: return "internal";
  }
  return "internal";
}

}  // namespace partage
