// SPDX-License-Identifier: Apache-2.0
// What a process says at each LIBCUDA_LOG_LEVEL.
#include <catch2/catch.hpp>

#include "test/intercept/loader/run_program.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

/// What a limited program says that opens the driver, with an error to tell of (a variable), a warning (the usage file) and where its limits come from.
std::string Said(const Environment& level, const std::string& usage) {
  Environment environment = {{"LD_PRELOAD", PARTAGE_LIBRARY},
                             {"LD_LIBRARY_PATH", PARTAGE_TEST_FOLDER "/driver"},
                             {"PARTAGE_USAGE", usage},
                             {"CUDA_DEVICE_MEMORY_LIMIT", "1g"},
                             {"CUDA_DEVICE_SM_LIMIT", "many"}};
  environment.insert(level.begin(), level.end());
  const Ran ran = Run({PARTAGE_TEST_FOLDER "/loader_probe", "open", "libcuda.so.1"}, environment);
  CHECK(ran.status == 0);
  CHECK_THAT(ran.out, Catch::StartsWith("cuMemGetInfo_v2 libpartage.so 1024\n"));
  return ran.err;
}

TEST_CASE("Errors are said at every log level, warnings from 2 on, and where the limits come from from 3 on") {
  const std::string error = "[partage] CUDA_DEVICE_SM_LIMIT=many is not understood and not used\n";
  const std::string warning = "[partage] cannot use /none/usage: there is no such file or folder; this process is limited by itself\n";
  const std::string info = "[partage] limits: the variables; usage: none\n";
  CHECK(Said({{"LIBCUDA_LOG_LEVEL", "0"}}, "/none/usage") == error);
  CHECK(Said({{"LIBCUDA_LOG_LEVEL", "1"}}, "/none/usage") == error);
  CHECK(Said({{"LIBCUDA_LOG_LEVEL", "2"}}, "/none/usage") == error + warning);
  CHECK(Said({}, "/none/usage") == error + warning);
  CHECK(Said({{"LIBCUDA_LOG_LEVEL", ""}}, "/none/usage") == error + warning);
  CHECK(Said({{"LIBCUDA_LOG_LEVEL", "3"}}, "/none/usage") == error + warning + info);
  CHECK(Said({{"LIBCUDA_LOG_LEVEL", "4"}}, "/none/usage") == error + warning + info);
}

TEST_CASE("A log level that is none is refused, and counts as not set") {
  const std::string error = "[partage] CUDA_DEVICE_SM_LIMIT=many is not understood and not used\n";
  const TempFolder folder;
  for (const char* level : {"5", "-1", "2x", "debug"}) {
    const std::string refused = std::string("[partage] LIBCUDA_LOG_LEVEL=") + level + " is not understood and not used\n";
    CHECK(Said({{"LIBCUDA_LOG_LEVEL", level}}, folder.path() + "/usage") == error + refused);
  }
}

}  // namespace
}  // namespace partage::test
