// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace partage::test {

/// docs/metrics.md, made from the catalogue and the collectors.
std::string MetricsPage();

}  // namespace partage::test
