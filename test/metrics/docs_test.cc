// SPDX-License-Identifier: Apache-2.0

#include <catch2/catch.hpp>

#include "test/metrics/metrics_page.h"
#include "test/support/golden.h"

namespace partage::test {

TEST_CASE("docs/metrics.md is what the catalogue and the collectors say") {
  CheckGolden(PARTAGE_SOURCE_DIR "/docs/metrics.md", MetricsPage());
}

}  // namespace partage::test
