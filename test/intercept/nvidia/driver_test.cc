// SPDX-License-Identifier: Apache-2.0
// libpartage.so on NVIDIA's own libraries, without a GPU: what a program sees must differ only where it is meant to.
#include <catch2/catch.hpp>

#include <map>
#include <sstream>

#include "test/intercept/abi/elf_file.h"
#include "test/intercept/loader/run_program.h"
#include "test/intercept/nvidia/files.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

const std::string kProbe = PARTAGE_NVIDIA_PROBE;

/// A driver branch with or without the library in the process.
class Bench {
 public:
  explicit Bench(const std::string& branch) : bare_{{"LD_LIBRARY_PATH", DriverFolder(branch)}}, limited_(bare_) {
    limited_["LD_PRELOAD"] = PARTAGE_LIBRARY;
    limited_["CUDA_DEVICE_MEMORY_LIMIT"] = "1g";
    limited_["CUDA_DEVICE_SM_LIMIT"] = "30";
    limited_["PARTAGE_USAGE"] = folder_.path() + "/usage";
    by_copy_ = limited_;
    by_copy_["PARTAGE_REDIRECT"] = "copy";
  }

  Ran Bare(const std::vector<std::string>& command) const { return Run(command, bare_); }
  Ran Limited(const std::vector<std::string>& command) const { return Run(command, limited_); }
  Ran ByCopy(const std::vector<std::string>& command) const { return Run(command, by_copy_); }
  /// With every symbol of every library looked up when it is loaded.
  Ran BoundAtOnce(const std::vector<std::string>& command, bool limited) const {
    Environment environment = limited ? limited_ : bare_;
    environment["LD_BIND_NOW"] = "1";
    return Run(command, environment);
  }

 private:
  TempFolder folder_;
  Environment bare_, limited_, by_copy_;
};

/// What the probe printed without us, with each hooked function's place as it has to be with us.
std::string WithHooks(const std::string& bare, const std::string& library = "libcuda.so") {
  const std::set<std::string> hooked = ElfFile(PARTAGE_LIBRARY).exports();
  std::istringstream words(bare);
  std::string text;
  std::string line;
  while (std::getline(words, line)) {
    const std::string place = library + " ";
    for (std::size_t at = 0; (at = line.find(place, at)) != std::string::npos; ++at) {
      const std::size_t name = at + place.size();
      if (hooked.count(line.substr(name, line.find(';', name) - name)) == 1) line.replace(at, place.size(), "libpartage.so ");
    }
    text += line + "\n";
  }
  return text;
}

/// Compares line by line, so that a failure names the line.
void CheckSame(const std::string& got, const std::string& wanted) {
  std::istringstream got_lines(got);
  std::istringstream wanted_lines(wanted);
  std::string got_line;
  std::string wanted_line;
  while (std::getline(wanted_lines, wanted_line)) {
    REQUIRE(std::getline(got_lines, got_line));
    CHECK(got_line == wanted_line);
  }
  CHECK_FALSE(std::getline(got_lines, got_line));
}

std::size_t Count(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; ++at) ++count;
  return count;
}

}  // namespace

TEST_CASE("On the real drivers dlsym finds hooks for hooked names and the driver's functions for the rest, both ways") {
  if (!HaveNvidiaFiles()) return;
  for (const std::string& branch : kBranches) {
    INFO(branch);
    const Bench bench(branch);
    const std::string bare = bench.Bare({kProbe, "symbols"}).out;
    CHECK(Count(bare, "libcuda.so") > 300);
    CheckSame(bench.Limited({kProbe, "symbols"}).out, WithHooks(bare));
    CheckSame(bench.ByCopy({kProbe, "symbols"}).out, WithHooks(bare));
    CHECK(Count(WithHooks(bare), "libpartage.so") > 40);
  }
}

TEST_CASE("On the real drivers NVML's hooked names lead to hooks and the rest to NVML, both ways") {
  if (!HaveNvidiaFiles()) return;
  for (const std::string& branch : kBranches) {
    INFO(branch);
    const Bench bench(branch);
    const std::string bare = bench.Bare({kProbe, "nvml-symbols"}).out, wanted = WithHooks(bare, "libnvidia-ml.so");
    CHECK(Count(bare, "libnvidia-ml.so") > 40);
    CHECK(Count(wanted, "libpartage.so") > 10);
    CheckSame(bench.Limited({kProbe, "nvml-symbols"}).out, wanted);
    CheckSame(bench.ByCopy({kProbe, "nvml-symbols"}).out, wanted);
  }
}

TEST_CASE("On the real drivers no symbol is left unresolved, by the library or because of it") {
  if (!HaveNvidiaFiles()) return;
  for (const std::string& branch : kBranches) {
    for (const char* what : {"answers", "symbols", "nvml-symbols"}) {
      INFO(branch << " " << what);
      const Bench bench(branch);
      const Ran bare = bench.BoundAtOnce({kProbe, what}, false), limited = bench.BoundAtOnce({kProbe, what}, true);
      CHECK(limited.status == 0);
      CHECK(limited.status == bare.status);
      CHECK(limited.err == bare.err);
      CheckSame(limited.out, bench.Limited({kProbe, what}).out);
    }
  }
}

TEST_CASE(
    "On the real drivers cuGetProcAddress answers the hook of exactly the interface the driver chose, for each version and stream flag") {
  if (!HaveNvidiaFiles()) return;
  for (const std::string& branch : kBranches) {
    INFO(branch);
    const Bench bench(branch);
    const std::string bare = bench.Bare({kProbe, "proc-addresses"}).out;
    CHECK(Count(bare, "libcuda.so") > 3000);
    CHECK(Count(bare, "?") == 0);  // each address the driver gives out is that of an export
    CheckSame(bench.Limited({kProbe, "proc-addresses"}).out, WithHooks(bare));
  }
}

TEST_CASE("Without a device the real drivers answer through the library as they do alone") {
  if (!HaveNvidiaFiles()) return;
  for (const std::string& branch : kBranches) {
    INFO(branch);
    const Bench bench(branch);
    const Ran bare = bench.Bare({kProbe, "answers"});
    const Ran limited = bench.Limited({kProbe, "answers"});
    CHECK(limited.status == bare.status);
    CheckSame(limited.out, bare.out);
    CHECK(limited.err == bare.err);
  }
}

TEST_CASE("The real CUDA runtimes answer through the library as they do alone") {
  if (!HaveNvidiaFiles()) return;
  for (const std::string& branch : kBranches) {
    const Bench bench(branch);
    for (const char* runtime : {"11.8/libcudart.so.11.0", "12.9/libcudart.so.12", "13.5/libcudart.so.13"}) {
      INFO(branch << " " << runtime);
      const std::string path = kNvidia + "/runtime/" + runtime;
      const Ran bare = bench.Bare({kProbe, "runtime", path});
      CHECK(Count(bare.out, "cudaMalloc") == 1);
      CheckSame(bench.Limited({kProbe, "runtime", path}).out, bare.out);
      CheckSame(bench.ByCopy({kProbe, "runtime", path}).out, bare.out);
    }
  }
}

TEST_CASE("The real nvidia-smi says the same and ends the same") {
  if (!HaveNvidiaFiles()) return;
  for (const std::string& branch : kBranches) {
    INFO(branch);
    const Bench bench(branch);
    const std::string program = kNvidia + "/" + branch + "/usr/lib/nvidia/current/nvidia-smi";
    const Ran bare = bench.Bare({program});
    const Ran limited = bench.Limited({program});
    CHECK(limited.status == bare.status);
    CHECK(limited.out == bare.out);
    CHECK(limited.err == bare.err);
    CHECK_FALSE(bare.out.empty());
  }
}

}  // namespace partage::test
