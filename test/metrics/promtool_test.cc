// SPDX-License-Identifier: Apache-2.0

#include <sys/wait.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>

#include "test/metrics/sample.h"
#include "test/support/skip.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

struct Outcome {
  int status;
  std::string output;
};

Outcome Shell(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  std::array<char, 4096> bytes;
  while (const auto size = std::fread(bytes.data(), 1, bytes.size(), pipe)) output.append(bytes.data(), size);
  return {WEXITSTATUS(::pclose(pipe)), output};
}

constexpr auto kFindPromtool = "PATH=$PATH:" PARTAGE_SOURCE_DIR "/build/prometheus/usr/bin; export PATH; ";

TEST_CASE("promtool finds nothing to say about all that is exposed") {
  if (Shell(std::string(kFindPromtool) + "command -v promtool").status != 0) {
    Skipped("promtool is not installed (Debian package prometheus)");
    return;
  }
  SampleMetrics sample({.pod_series = true});
  TouchCatalog(sample.registry);
  const TempFolder folder;
  const std::string file = folder.Write("metrics.txt", sample.registry.Expose());
  const auto outcome = Shell(std::string(kFindPromtool) + "promtool check metrics < " + file + " 2>&1");
  CHECK(outcome.output.empty());
  CHECK(outcome.status == 0);
}

}  // namespace
}  // namespace partage::test
