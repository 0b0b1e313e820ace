// SPDX-License-Identifier: Apache-2.0
// libpartage.so in processes whose pages the kernel refuses to make writable.
#include <sys/wait.h>

#include <catch2/catch.hpp>

#include "test/intercept/loader/run_program.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

const std::string kHere = PARTAGE_TEST_FOLDER;
const std::string kHookedDriver = "cuMemGetInfo_v2 libpartage.so 1024\ncuDriverGetVersion libcuda.so.1 0\n";

/// A limited program that opens the driver in this folder, where mprotect with these bits is refused; 8, which is none: nothing is.
Ran Jailed(const std::string& bits, const std::string& driver, const std::vector<std::string>& arguments) {
  const TempFolder folder;
  std::vector<std::string> command = {kHere + "/loader_jail", bits, kHere + "/loader_probe"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return Run(command, {{"LD_PRELOAD", PARTAGE_LIBRARY},
                       {"LD_LIBRARY_PATH", kHere + "/" + driver},
                       {"PARTAGE_USAGE", folder.path() + "/usage"},
                       {"CUDA_DEVICE_MEMORY_LIMIT", "1g"},
                       {"LIBCUDA_LOG_LEVEL", "3"}});
}

bool CannotJail(const Ran& ran) {
  if (!WIFEXITED(ran.status) || WEXITSTATUS(ran.status) != 3) return false;
  WARN("this machine does not let us refuse system calls");
  return true;
}

TEST_CASE("Where code can never be made writable, a driver whose table lies beside code is redirected by a copy, without being asked to") {
  const Ran ran = Jailed("6", "driver_beside_code", {"open", "libcuda.so.1"});
  if (CannotJail(ran)) return;
  CHECK(ran.out == kHookedDriver);
  CHECK_THAT(ran.err, Catch::EndsWith("\n[partage] libcuda.so.1: redirected by a copy of its symbol table\n"));
  CHECK(Jailed("6", "driver_beside_code", {"deepbind", "libcuda.so.1"}).out == kHookedDriver);
  CHECK(Jailed("6", "driver_beside_code", {"reopen"}).out == "before libpartage.so 1024\n" + kHookedDriver);
  CHECK(Jailed("6", "driver_beside_code", {"threads"}).out == "threads 16 1024\n");
  CHECK(Jailed("6", "driver_beside_code", {"fork", "libcuda.so.1"}).out == kHookedDriver + "child 0\n");
}

TEST_CASE("Where the table's pages can be made writable, no copy is made") {
  for (const auto& [bits, driver] : {std::pair{"6", "driver"}, {"8", "driver"}, {"8", "driver_beside_code"}}) {
    const Ran ran = Jailed(bits, driver, {"open", "libcuda.so.1"});
    if (CannotJail(ran)) return;
    INFO(bits << " " << driver);
    CHECK(ran.out == kHookedDriver);
    CHECK(ran.err.find("copy") == std::string::npos);
  }
}

TEST_CASE("Where no page can be made writable at all, the process says that only linked programs are limited, and those are") {
  const Ran ran = Jailed("2", "driver", {"open", "libcuda.so.1"});
  if (CannotJail(ran)) return;
  CHECK(ran.out == "cuMemGetInfo_v2 libcuda.so.1 8192\ncuDriverGetVersion libcuda.so.1 0\n");
  CHECK_THAT(ran.err,
             Catch::EndsWith("\n[partage] libcuda.so.1: look-ups cannot be redirected; only programs linked with it are limited\n"));
  const TempFolder folder;
  const Ran linked = Run({kHere + "/loader_jail", "2", kHere + "/linked_probe"}, {{"LD_PRELOAD", PARTAGE_LIBRARY},
                                                                                  {"LD_LIBRARY_PATH", kHere + "/driver"},
                                                                                  {"PARTAGE_USAGE", folder.path() + "/usage"},
                                                                                  {"CUDA_DEVICE_MEMORY_LIMIT", "1g"}});
  CHECK_THAT(linked.out, Catch::StartsWith("linked 1024\n"));
}

TEST_CASE("Where no page can be made writable at all and faults are to be refused, only linked programs get the driver") {
  const TempFolder folder;
  for (const std::string& name : {std::string("libcuda.so.1"), kHere + "/driver/libcuda.so.1"}) {
    const Ran ran = Run({kHere + "/loader_jail", "2", kHere + "/loader_probe", "open", name}, {{"LD_PRELOAD", PARTAGE_LIBRARY},
                                                                                               {"LD_LIBRARY_PATH", kHere + "/driver"},
                                                                                               {"PARTAGE_ON_FAULT", "refuse"},
                                                                                               {"PARTAGE_USAGE", folder.path() + "/usage"},
                                                                                               {"CUDA_DEVICE_MEMORY_LIMIT", "1g"}});
    if (CannotJail(ran)) return;
    CHECK(ran.out == "open failed\n");
    CHECK_THAT(ran.err,
               Catch::Contains("[partage] libcuda.so.1: look-ups cannot be redirected; only programs linked with it may use it\n"));
  }
}

}  // namespace
}  // namespace partage::test
