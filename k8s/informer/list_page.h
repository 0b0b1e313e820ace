// SPDX-License-Identifier: Apache-2.0
// Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "base/result.h"

namespace partage::k8s {

/// One parsed page of a LIST: owns the text and the document. Used by one thread.
class ListPage {
 public:
  /// kInvalid when the text is no list.
  Result<> Parse(std::string text);

  std::string_view version() const { return version_; }
  /// The token of the next page; empty: this was the last.
  std::string_view next() const { return next_; }
  /// Calls `take` for every item.
  template <class F>
  void ForEachItem(F take) const {
    if (!items_) return;
    for (const auto item : *items_) take(item);
  }

 private:
  std::string text_;
  simdjson::dom::parser parser_;
  std::string_view version_, next_;
  std::optional<simdjson::dom::array> items_;  // nullopt: null or absent, as a Go server may write an empty list
};

}  // namespace partage::k8s
