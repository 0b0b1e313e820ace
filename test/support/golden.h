// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "base/text_file.h"

namespace partage::test {

/// Checks that a file of the source tree holds exactly this text. With PARTAGE_UPDATE_GOLDEN=1 in the environment the file is rewritten instead.
inline void CheckGolden(const std::string& path, std::string_view text) {
  if (std::getenv("PARTAGE_UPDATE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << text;
  INFO("a generated file; if the change is meant, run this test again with PARTAGE_UPDATE_GOLDEN=1: " << path);
  const auto known = ReadTextFile(path);
  CHECK(known.value_or("") == text);
}

}  // namespace partage::test
