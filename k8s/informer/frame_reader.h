// SPDX-License-Identifier: Apache-2.0
// Private to this folder.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "base/result.h"

namespace partage::k8s {

/// One frame of a watch. Valid until the next is read.
struct Frame {
  std::string_view type;  ///< "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"
  simdjson::dom::element object;
};

/// Splits the bytes of a watch into JSON documents, one a line, wherever the pieces were cut. Used by one thread.
class FrameReader {
 public:
  /// Calls `take` for every frame that `piece` completes; false from it ends the call. kInvalid for a line that is no watch frame or is over 64 MiB.
  Result<> Feed(std::string_view piece, const std::function<bool(const Frame&)>& take);

 private:
  Result<bool> Line(std::string_view line, const std::function<bool(const Frame&)>& take);

  std::string pending_;  // the beginning of a line whose end has not come
  simdjson::dom::parser parser_;
};

}  // namespace partage::k8s
