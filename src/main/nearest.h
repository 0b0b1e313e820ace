// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace partage::app {

/// The candidate that takes the fewest edits to become `word`, when a slip of the finger explains the difference (at most a third of the word, at
/// least two edits); empty otherwise. Case does not count. Pure.
std::string Nearest(std::string_view word, const std::vector<std::string_view>& candidates);

/// "; did you mean X?", or nothing: the end of an error message.
std::string DidYouMean(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace partage::app
