// SPDX-License-Identifier: Apache-2.0
// How a decoder is put before the fuzzer: one line in a file named *_fuzz.cc of this folder, and a folder of the same name in corpus/.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace partage::fuzz {

/// Does with one input what the program would, and aborts (PARTAGE_CHECK) where the answer cannot be right. A refusal is a right answer.
using TryInput = void (*)(std::string_view input);

struct Target {
  std::string_view name;
  TryInput try_input;
};

/// Makes a target known, as a constant in an anonymous namespace:
///
///     const Registered kQuantity("quantity", [](std::string_view input) { (void)ParseWholeQuantity(input); });
struct Registered {
  Registered(std::string_view name, TryInput try_input);
};

/// By name.
std::vector<Target> Targets();

/// The pieces of an input that stands for several texts, cut at line ends; the last takes the rest. Missing ones are empty.
std::vector<std::string_view> Pieces(std::string_view input, std::size_t count);

}  // namespace partage::fuzz
