// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iostream>
#include <string_view>

namespace partage::test {

/// Says why this machine does not let a test case be carried out, in the words by which ctest counts it as skipped instead of passed. The caller returns.
inline void Skipped(std::string_view why) { std::cout << "SKIPPED: " << why << std::endl; }

}  // namespace partage::test
