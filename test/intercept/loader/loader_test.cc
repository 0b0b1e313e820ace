// SPDX-License-Identifier: Apache-2.0
// libpartage.so, the file that ships, preloaded into programs that find the driver in every way the loader offers.
#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>

#include "test/intercept/loader/run_program.h"
#include "test/support/skip.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

namespace fs = std::filesystem;

const std::string kFolder = PARTAGE_TEST_FOLDER;  // where CMake put the probes and the toy driver
const std::string kProbe = kFolder + "/loader_probe";
const std::string kDriver = kFolder + "/driver";

/// One container: the library preloaded, a limit of 1 GiB, a driver on the search path, a usage file of its own.
class Container {
 public:
  Container() {
    environment_ = {{"LD_PRELOAD", PARTAGE_LIBRARY},
                    {"LD_LIBRARY_PATH", kDriver},
                    {"PARTAGE_USAGE", folder_.path() + "/usage"},
                    {"CUDA_DEVICE_MEMORY_LIMIT", "1g"}};
  }

  Container& Set(const std::string& name, const std::string& value) {
    environment_[name] = value;
    return *this;
  }
  Container& Unset(const std::string& name) {
    environment_.erase(name);
    return *this;
  }
  std::string Out(const std::vector<std::string>& arguments) {
    std::vector<std::string> command{kProbe};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return Start(command).out;
  }
  Ran Start(const std::vector<std::string>& command) { return Run(command, environment_); }
  const Environment& environment() const { return environment_; }

 private:
  TempFolder folder_;
  Environment environment_;
};

const std::string kHooked = "cuMemGetInfo_v2 libpartage.so 1024\ncuDriverGetVersion libcuda.so.1 0\n";
const std::string kBare = "cuMemGetInfo_v2 libcuda.so.1 8192\ncuDriverGetVersion libcuda.so.1 0\n";

}  // namespace

TEST_CASE("A driver opened by its soname, its development name or a path leads to the hooks, and only hooked names do") {
  Container container;
  CHECK(container.Out({"open", "libcuda.so.1"}) == kHooked);
  CHECK(container.Out({"open", "libcuda.so"}) == kHooked);
  CHECK(container.Out({"open", kDriver + "/libcuda.so.1"}) == kHooked);
}

TEST_CASE("RTLD_DEEPBIND and a look-up in the global scope make no difference") {
  Container container;
  CHECK(container.Out({"deepbind", "libcuda.so.1"}) == kHooked);
  CHECK(container.Out({"global", "libcuda.so.1"}) == kHooked);
}

TEST_CASE("Redirection by a copy of the symbol table serves all of this too") {
  Container container;
  container.Set("PARTAGE_REDIRECT", "copy");
  CHECK(container.Out({"open", "libcuda.so.1"}) == kHooked);
  CHECK(container.Out({"deepbind", kDriver + "/libcuda.so.1"}) == kHooked);
  CHECK(container.Out({"two-files", kFolder + "/driver2/libcuda.so.1"}) == kHooked + kHooked);
  CHECK(container.Out({"reopen"}) == "before libpartage.so 1024\n" + kHooked);
  CHECK(container.Out({"nvml"}) == "nvmlDeviceGetMemoryInfo libpartage.so 1024\n");
  const Ran ran = container.Set("LIBCUDA_LOG_LEVEL", "3").Start({kProbe, "open", "libcuda.so.1"});
  CHECK_THAT(ran.err, Catch::EndsWith("\n[partage] libcuda.so.1: redirected by a copy of its symbol table\n"));
}

TEST_CASE("What cannot be used is said on standard error, once and by name, and what the process is held to when asked") {
  TempFolder folder;
  const std::string foreign = folder.Write("foreign", "x");
  const std::string cut_short = ": its size is not that of such a file: it was cut short, or it is another kind of file";
  const std::string missing = ": there is no such file or folder";
  struct Case {
    std::string name, value, said;
  };
  for (const Case& c :
       std::vector<Case>{{"CUDA_DEVICE_MEMORY_LIMIT_1", "8gigs", "CUDA_DEVICE_MEMORY_LIMIT_1=8gigs is not understood and not used"},
                         {"PARTAGE_REDIRECT", "Copy", "PARTAGE_REDIRECT=Copy is not understood and not used"},
                         {"PARTAGE_LIMITS", foreign, "cannot use " + foreign + cut_short},
                         {"PARTAGE_LIMITS", "/none/limits", "cannot use /none/limits" + missing},
                         {"PARTAGE_USAGE", foreign, "cannot use " + foreign + cut_short + "; this process is limited by itself"},
                         {"PARTAGE_USAGE", "/none/usage", "cannot use /none/usage" + missing + "; this process is limited by itself"},
                         {"PARTAGE_LIMITS", "", ""},
                         {"CUDA_DEVICE_MEMORY_SHARED_CACHE", "", ""}}) {
    const Ran ran = Container().Set(c.name, c.value).Start({kProbe, "open", "libcuda.so.1"});
    CHECK(ran.out == kHooked);
    CHECK(ran.err == (c.said.empty() ? "" : "[partage] " + c.said + "\n"));
  }
  Container asking;
  asking.Set("LIBCUDA_LOG_LEVEL", "3");
  const std::string file = asking.environment().at("PARTAGE_USAGE");
  CHECK(asking.Start({kProbe, "open", "libcuda.so.1"}).err == "[partage] limits: the variables; usage: " + file + "\n");
  CHECK(asking.Unset("CUDA_DEVICE_MEMORY_LIMIT").Start({kProbe, "open", "libcuda.so.1"}).err == "[partage] nothing is limited\n");
}

TEST_CASE("No page of the driver's symbol tables is left writable") { CHECK(Container().Out({"heads"}) == "heads found writable 0\n"); }

TEST_CASE("A driver that is on no search path is hooked when it is opened by its path") {
  CHECK(Container().Unset("LD_LIBRARY_PATH").Out({"open", kDriver + "/libcuda.so.1"}) == kHooked);
}

TEST_CASE("A second file of the driver, and one in a namespace of its own, lead to the first") {
  Container container;
  CHECK(container.Out({"two-files", kFolder + "/driver2/libcuda.so.1"}) == kHooked + kHooked);
  CHECK(container.Out({"namespace"}) == "calls 1\ncalls 2\n" + kHooked);
}

TEST_CASE("RTLD_NOLOAD does not load the driver") { CHECK(Container().Out({"noload", "libcuda.so.1"}) == "open failed\n"); }

TEST_CASE("cuGetProcAddress answers hooks for what is hooked, itself in the form asked for, and the driver's answer for the rest") {
  CHECK(Container().Out({"proc-address"}) ==
        "cuMemGetInfo libpartage.so 0\ncuDriverGetVersion libcuda.so.1 0\ncuGetProcAddress libpartage.so 0\ncuNoSuchThing nowhere 0\n"
        "older libpartage.so 1\n");
}

TEST_CASE("A program linked with the driver is limited by the exported hooks and by what it looks up") {
  CHECK(Container().Start({kFolder + "/linked_probe"}).out == "linked 1024\nlooked-up 1024\n");
}

TEST_CASE("NVML shows the share, known by the same UUID or number") {
  CHECK(Container().Out({"nvml"}) == "nvmlDeviceGetMemoryInfo libpartage.so 1024\n");
}

TEST_CASE("Sixteen threads that open the driver at once all see the share") { CHECK(Container().Out({"threads"}) == "threads 16 1024\n"); }

TEST_CASE("Closing the driver and opening it again keeps the hooks and what was looked up") {
  CHECK(Container().Out({"reopen"}) == "before libpartage.so 1024\n" + kHooked);
}

TEST_CASE("Forked children are held to the share, whether the parent opened the driver or not, and may exec") {
  CHECK(Container().Out({"fork", "libcuda.so.1"}) == kHooked + "child 0\n");
  CHECK(Container().Out({"fork-first", "libcuda.so.1"}) == kHooked + "child 0\n");
  CHECK(Container().Out({"vfork"}) == "child 0\n" + kHooked);
}

TEST_CASE("libc sees who called dlopen: a library found only by the caller's RUNPATH is found") {
  Container container;
  CHECK(container.Out({"plugin", kFolder + "/plugin/libplugin.so"}) == "inner found\n");
}

TEST_CASE("Without a limit nothing is hooked at all") {
  CHECK(Container().Unset("CUDA_DEVICE_MEMORY_LIMIT").Out({"open", "libcuda.so.1"}) == kBare);
  CHECK(Container().Set("CUDA_DEVICE_SM_LIMIT", "100").Unset("CUDA_DEVICE_MEMORY_LIMIT").Out({"open", "libcuda.so.1"}) == kBare);
  CHECK(Container().Set("CUDA_DISABLE_CONTROL", "true").Out({"open", "libcuda.so.1"}) == kBare);
  CHECK(Container().Unset("CUDA_DEVICE_MEMORY_LIMIT").Start({kFolder + "/linked_probe"}).out == "linked 8192\nlooked-up 8192\n");
}

TEST_CASE("A limit that cannot be read is refused with a message, and nothing else is said") {
  const Ran refused = Container().Set("CUDA_DEVICE_MEMORY_LIMIT", "8gigs").Start({kProbe, "open", "libcuda.so.1"});
  CHECK(refused.out == kBare);
  CHECK(refused.err == "[partage] CUDA_DEVICE_MEMORY_LIMIT=8gigs is not understood and not used\n");
  CHECK(Container().Start({kProbe, "open", "libcuda.so.1"}).err.empty());
}

TEST_CASE("A machine without a driver says so as if we were not there") {
  Container container;
  container.Set("LD_LIBRARY_PATH", "/nonexistent");
  CHECK(container.Out({"open", "libcuda.so.1"}) == "open failed\n");
  CHECK(container.Out({"nvml"}) == "open failed\n");
}

TEST_CASE("A program that never wants the driver makes the same system calls after loading as without us") {
  const auto after_loading = [](std::vector<long> calls) {
    constexpr long kMunmap = 11;  // the loader's last act: it gives up the map of its cache
    const auto last = std::find(calls.rbegin(), calls.rend(), kMunmap);
    return std::vector<long>(last.base(), calls.end());
  };
  Container container;
  const std::vector<long> bare = SystemCalls({"/bin/true"}, {});
  if (bare.empty()) {
    Skipped("this machine does not let us trace system calls");
    return;
  }
  const std::vector<long> preloaded = SystemCalls({"/bin/true"}, {{"LD_PRELOAD", PARTAGE_LIBRARY}});
  CHECK(preloaded.size() > bare.size());  // opening and mapping the file
  CHECK(after_loading(preloaded) == after_loading(bare));
  CHECK(container.Start({"/bin/true"}).status == 0);
  CHECK(container.Start({"/bin/true"}).err.empty());
}

TEST_CASE("A process that opens the driver and no limit applies does not get a usage file") {
  TempFolder folder;
  Container container;
  container.Set("PARTAGE_USAGE", folder.path() + "/usage").Unset("CUDA_DEVICE_MEMORY_LIMIT").Out({"open", "libcuda.so.1"});
  CHECK_FALSE(fs::exists(folder.path() + "/usage"));
  container.Set("CUDA_DEVICE_MEMORY_LIMIT", "1g").Out({"open", "libcuda.so.1"});
  CHECK(fs::exists(folder.path() + "/usage"));
}

}  // namespace partage::test
