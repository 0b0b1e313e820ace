// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "http/server.h"

namespace partage::test {

/// A request body as the HTTP server hands it over: in memory of its own that ends right after the padding, which holds text that would be taken for more
/// of the body if anybody read on.
class PaddedBody {
 public:
  explicit PaddedBody(std::string_view text) : memory_(text.begin(), text.end()), size_(text.size()) {
    memory_.resize(size_ + http::kBodyPadding, '"');
  }
  operator std::string_view() const { return {memory_.data(), size_}; }

 private:
  std::vector<char> memory_;
  std::size_t size_;
};

}  // namespace partage::test
