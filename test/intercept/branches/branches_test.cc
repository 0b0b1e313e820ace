// SPDX-License-Identifier: Apache-2.0
// libpartage.so on every driver branch that the fake driver knows.
#include <catch2/catch.hpp>

#include "test/intercept/loader/run_program.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

struct Branch {
  const char* name;
  const char* said;        // by the probe
  bool answers_addresses;  // has cuGetProcAddress
};

const Branch kBranches[] = {
    {"440", "CUDA 10020, 6 ways\n", false}, {"450", "CUDA 11000, 6 ways\n", false}, {"470", "CUDA 11040, 8 ways\n", true},
    {"525", "CUDA 12000, 8 ways\n", true},  {"535", "CUDA 12020, 8 ways\n", true},  {"550", "CUDA 12040, 8 ways\n", true},
    {"580", "CUDA 13000, 8 ways\n", true},  {"615", "CUDA 13050, 8 ways\n", true},
};

/// Runs the probe with 256 MiB and a quarter of the time of a GPU of that branch.
Ran Probe(const Branch& branch, const char* how) {
  const TempFolder folder;
  return Run({PARTAGE_BRANCH_PROBE, how}, {{"LD_PRELOAD", PARTAGE_LIBRARY},
                                           {"LD_LIBRARY_PATH", std::string(FAKE_DRIVER_FOLDER) + "/" + branch.name},
                                           {"FAKE_CUDA", "device memory=16G; context 20M; module 2M; pool_chunk 2M"},
                                           {"PARTAGE_USAGE", folder.path() + "/usage"},
                                           {"CUDA_DEVICE_MEMORY_LIMIT", "256m"},
                                           {"CUDA_DEVICE_SM_LIMIT", "25"}});
}

void CheckAll(const char* how, bool only_with_addresses) {
  for (const Branch& branch : kBranches) {
    if (only_with_addresses && !branch.answers_addresses) continue;
    INFO(branch.name);
    const Ran ran = Probe(branch, how);
    CHECK(ran.status == 0);
    CHECK(ran.out == branch.said);
    CHECK(ran.err == "");
  }
}

}  // namespace

TEST_CASE("On every driver branch the share holds for every way to allocate, CUDA and NVML report it, and all of it is given back") {
  CheckAll("symbols", false);
}

TEST_CASE("On every branch that has cuGetProcAddress it leads to the very functions that dlsym finds, and the share holds for them") {
  CheckAll("addresses", true);
}

}  // namespace partage::test
