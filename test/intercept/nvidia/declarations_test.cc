// SPDX-License-Identifier: Apache-2.0
// Our own declarations against NVIDIA's headers: the comparison is made by the compiler, on same_declarations.cc.
#include <catch2/catch.hpp>

#include "test/intercept/loader/run_program.h"
#include "test/intercept/nvidia/files.h"

namespace partage::test {
namespace {

Ran Compile(const std::string& headers, const std::string& what, const std::string& more = "NOTHING", int branch = 0) {
  const std::string source = PARTAGE_SOURCE;
  return Run({PARTAGE_COMPILER, "-std=c++20", "-fsyntax-only", "-w", "-D" + what, "-D" + more, "-DDRIVER_BRANCH=" + std::to_string(branch),
              "-I" + source + "/src", "-I" + kNvidia + "/headers/" + headers, source + "/test/intercept/nvidia/same_declarations.cc"},
             {});
}

}  // namespace

TEST_CASE(
    "Structs, numbers and signatures are those of NVIDIA's headers of CUDA 11.8, 12.9 and 13.5, which declare the rows of their age") {
  if (!HaveNvidiaFiles()) return;
  for (const std::string version : {"11.8", "12.9", "13.5"}) {
    INFO(version);
    const Ran ran = Compile(version, "COMPARE_CUDA");
    CHECK(ran.err == "");
    CHECK(ran.status == 0);
  }
}

TEST_CASE("NVML's are those of NVIDIA's headers that came with the drivers 520, 575 and 615, and so is their age") {
  if (!HaveNvidiaFiles()) return;
  const std::pair<const char*, int> headers[] = {{"nvml-11.8", 520}, {"nvml", 575}, {"nvml-13.5", 615}};
  for (const auto& [header, branch] : headers) {
    INFO(header);
    const Ran ran = Compile(header, "COMPARE_NVML", "NOTHING", branch);
    CHECK(ran.err == "");
    CHECK(ran.status == 0);
  }
}

TEST_CASE("The comparison notices a wrong declaration") {
  if (!HaveNvidiaFiles()) return;
  CHECK(Compile("12.9", "COMPARE_CUDA", "WRONG").status != 0);
  CHECK(Compile("nvml", "COMPARE_NVML", "NOTHING", 500).status != 0);  // a driver too old for some of its rows
}

}  // namespace partage::test
