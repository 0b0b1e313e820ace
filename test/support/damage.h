// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <string_view>

namespace partage::test {

/// Visits damaged copies of a valid document: every truncation, and `flips` copies with one to four bytes changed, the same ones in every run.
template <class Visit>
void ForEachDamaged(std::string_view document, int flips, Visit visit) {
  for (std::size_t length = 0; length < document.size(); ++length) visit(std::string(document.substr(0, length)));
  constexpr std::string_view kNasty = "\"{}[],:;\\-0918eE.\x00\x7f\x80\xff";
  std::mt19937 random(7);
  for (int i = 0; i < flips; ++i) {
    std::string damaged(document);
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      const bool nasty = random() % 2 == 0;
      damaged[random() % damaged.size()] = nasty ? kNasty[random() % kNasty.size()] : static_cast<char>(random());
    }
    visit(damaged);
  }
}

}  // namespace partage::test
