// SPDX-License-Identifier: Apache-2.0
// libpartage.so named by /etc/ld.so.preload, as in every container on a node: then it is in each process, and in programs with raised privileges too.
#include <catch2/catch.hpp>

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "shm/limits.h"
#include "test/intercept/loader/run_program.h"
#include "test/support/libcuda/client.h"
#include "test/support/skip.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

const std::string kBuilt = PARTAGE_TEST_FOLDER;
const std::string kHooked = "cuMemGetInfo_v2 libpartage.so 1024\ncuDriverGetVersion libcuda.so.1 0\n";
const std::string kBare = "cuMemGetInfo_v2 libcuda.so.1 8192\ncuDriverGetVersion libcuda.so.1 0\n";

/// Variables by which a process asks for 1 GiB.
Environment Limited(const std::string& folder) { return {{"CUDA_DEVICE_MEMORY_LIMIT", "1g"}, {"PARTAGE_USAGE", folder + "/usage"}}; }

/// In a child process: what a program printed, next to what was wanted.
void ExpectSame(const Ran& ran, const std::string& out, int line = __builtin_LINE()) {
  const bool same = ran.status == 0 && ran.out == out && ran.err.empty();
  if (!same)
    std::fprintf(stderr, "status %d, printed \"%s\", wanted \"%s\", said \"%s\"\n", ran.status, ran.out.c_str(), out.c_str(),
                 ran.err.c_str());
  Expect(same, __FILE__, line);
}

/// A machine whose /etc/ld.so.preload names the library: a mount namespace with an /etc and a /run of its own. In `folder` lie the library, the driver,
/// the probe, and the same probe as a program that anybody may run as root.
class Machine {
 public:
  /// Runs `body(folder)` there. False: something that it expected does not hold.
  template <class Body>
  bool Run(Body body) {
    Child child({}, [&] {
      Expect(Enter());
      body(folder_.path());
    });
    return child.Good();
  }

  /// Whether this machine lets us make one, with users of any number.
  static bool Allowed() {
    Child probe({}, [] { _exit(::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0 && Own("/run") && AsNobody([] {}) ? 0 : 77); });
    const bool allowed = probe.Good();
    if (!allowed) Skipped("only root may mount over /etc and make programs setuid here");
    return allowed;
  }

  /// Runs `body` as a user without rights.
  template <class Body>
  static bool AsNobody(Body body) {
    Child child({}, [&] {
      Expect(::setgroups(0, nullptr) == 0 && ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0);
      body();
    });
    return child.Good();
  }

 private:
  static bool Own(const char* folder) {
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 && ::mount("tmpfs", folder, "tmpfs", 0, "mode=0755") == 0;
  }

  bool Enter() const {
    const std::string here = folder_.path();
    std::ifstream file("/etc/ld.so.cache", std::ios::binary);
    const std::string cache{std::istreambuf_iterator<char>(file), {}};
    if (::unshare(CLONE_NEWNS) != 0 || !Own("/etc") || !Own("/run") || !Own(here.c_str())) return false;
    std::ofstream("/etc/ld.so.cache", std::ios::binary) << cache;
    for (const char* program : {"/probe", "/setuid-probe"}) fs::copy(kBuilt + "/loader_probe", here + program);
    fs::copy(PARTAGE_LIBRARY, here + "/libpartage.so");
    fs::copy(kBuilt + "/driver/libcuda.so.1", here + "/libcuda.so.1");
    if (::chmod((here + "/setuid-probe").c_str(), 04755) != 0) return false;
    std::ofstream("/etc/ld.so.preload") << here << "/libpartage.so\n";
    return true;
  }

  TempFolder folder_;
};

}  // namespace

TEST_CASE("Named by /etc/ld.so.preload it is in every program, which works as before, and holds those that use the driver to the share") {
  if (!Machine::Allowed()) return;
  const Ran bare = Run({"/bin/su", "--version"}, {});
  CHECK(Machine().Run([&](const std::string& folder) {
    ExpectSame(Run({"/bin/true"}, {}), "");
    ExpectSame(Run({"/bin/su", "--version"}, {}), bare.out);
    ExpectSame(Run({folder + "/probe", "identity"}, {}), "identity 0 0 plain, libpartage.so mapped\n");
    ExpectSame(Run({folder + "/probe", "open", folder + "/libcuda.so.1"}, {}), kBare);
    ExpectSame(Run({folder + "/probe", "open", folder + "/libcuda.so.1"}, Limited(folder)), kHooked);
    // It cannot be got round by a variable.
    Environment other = Limited(folder);
    other["LD_PRELOAD"] = "";
    ExpectSame(Run({folder + "/probe", "open", folder + "/libcuda.so.1"}, other), kHooked);
  }));
}

TEST_CASE("A setuid program started by a user has the library in it, works unharmed, and takes no limits or files from his variables") {
  if (!Machine::Allowed()) return;
  CHECK(Machine().Run([](const std::string& folder) {
    Expect(::chmod(folder.c_str(), 0777) == 0);
    Expect(Machine::AsNobody([&] {
      ExpectSame(Run({folder + "/setuid-probe", "identity"}, Limited(folder)), "identity 65534 0 secure, libpartage.so mapped\n");
      Environment asked = Limited(folder);
      asked["PARTAGE_LIMITS"] = folder + "/none";
      asked["LIBCUDA_LOG_LEVEL"] = "4";
      asked["PARTAGE_ON_FAULT"] = "refuse";
      ExpectSame(Run({folder + "/setuid-probe", "open", folder + "/libcuda.so.1"}, asked), kBare);
      ExpectSame(Run({folder + "/probe", "open", folder + "/libcuda.so.1"}, Limited(folder)), kHooked);  // the variables are good
    }));
  }));
}

TEST_CASE("A setuid program is held to the limits of the agent's file, whatever variables say") {
  if (!Machine::Allowed()) return;
  CHECK(Machine().Run([](const std::string& folder) {
    shm::LimitsContent content;
    content.devices = 1;
    std::strcpy(content.device[0].uuid, "GPU-abababab-abab-abab-abab-abababababab");
    content.device[0].memory_bytes = std::uint64_t{1} << 30;
    Expect(::mkdir("/run/partage", 0755) == 0 && shm::WriteLimits("/run/partage/limits", content) == shm::Fault::kNone);
    Expect(Machine::AsNobody([&] {
      const Environment asked = {{"CUDA_DISABLE_CONTROL", "true"}, {"CUDA_DEVICE_MEMORY_LIMIT", "1m"}, {"PARTAGE_ON_FAULT", "pass"}};
      ExpectSame(Run({folder + "/setuid-probe", "open", folder + "/libcuda.so.1"}, asked), kHooked);
    }));
  }));
}

}  // namespace partage::test
