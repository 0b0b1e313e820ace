// SPDX-License-Identifier: Apache-2.0
#include "main/configuration_doc.h"

#include "test/support/golden.h"

namespace partage::app {
namespace {

TEST_CASE("docs/configuration.md says what the program reads") {
  test::CheckGolden(PARTAGE_SOURCE_DIR "/docs/configuration.md", ConfigurationDoc());
}

}  // namespace
}  // namespace partage::app
