// SPDX-License-Identifier: Apache-2.0
// partage-limits and partage-top as they are started: exit codes, which stream says what, and that a limited program obeys what the one wrote and is shown
// by the other.
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "test/intercept/loader/run_program.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

const std::string kUuid = "GPU-abababab-abab-abab-abab-abababababab";  // the toy driver's

struct Answer {
  int code;
  std::string out, err;
};

Answer Ask(const std::string& program, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), program);
  const Ran ran = Run(arguments, {});
  REQUIRE(WIFEXITED(ran.status));
  return {WEXITSTATUS(ran.status), ran.out, ran.err};
}
Answer Limits(const std::vector<std::string>& arguments) { return Ask(PARTAGE_LIMITS_PROGRAM, arguments); }
Answer Top(const std::vector<std::string>& arguments) { return Ask(PARTAGE_TOP_PROGRAM, arguments); }

std::string ContentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The total that a program sees with these files, in MiB as the probe prints it.
std::string Seen(const std::string& limits, const std::string& usage) {
  return Run({PARTAGE_TEST_FOLDER "/loader_probe", "open", "libcuda.so.1"}, {{"LD_PRELOAD", PARTAGE_LIBRARY},
                                                                             {"LD_LIBRARY_PATH", PARTAGE_TEST_FOLDER "/driver"},
                                                                             {"PARTAGE_LIMITS", limits},
                                                                             {"PARTAGE_USAGE", usage}})
      .out;
}

TEST_CASE("Both programs explain themselves on standard output, and wrong arguments on standard error with code 2") {
  for (const char* program : {PARTAGE_LIMITS_PROGRAM, PARTAGE_TOP_PROGRAM}) {
    INFO(program);
    const std::string name = std::string(program).substr(std::string(program).rfind('/') + 1);
    const Answer help = Ask(program, {"--help"});
    CHECK(help.code == 0);
    CHECK_THAT(help.out, Catch::StartsWith("NAME\n  " + name + " - "));
    CHECK_THAT(help.out, Catch::Contains("\nEXIT STATUS\n"));
    CHECK(help.err.empty());
    const std::vector<std::vector<std::string>> wrong = {{}, {"--nonsense"}, {"one", "two"}, {""}};
    for (const std::vector<std::string>& arguments : wrong) {
      const Answer answer = Ask(program, arguments);
      CHECK(answer.code == 2);
      CHECK(answer.out.empty());
      CHECK_THAT(answer.err, Catch::StartsWith(name + ": "));
      CHECK_THAT(answer.err, Catch::EndsWith("\nTry " + name + " --help\n"));
    }
  }
}

TEST_CASE("A file that cannot be used is named with the reason on standard error with code 1, and left alone") {
  const TempFolder folder;
  const std::string damaged = folder.Write("damaged", std::string(8192, 'x'));
  const std::string missing = folder.path() + "/none";
  for (const char* program : {PARTAGE_LIMITS_PROGRAM, PARTAGE_TOP_PROGRAM}) {
    const std::string name = std::string(program).substr(std::string(program).rfind('/') + 1);
    for (const std::string& file : {damaged, missing, folder.path()}) {
      INFO(name << " " << file);
      const Answer answer = Ask(program, {file});
      CHECK(answer.code == 1);
      CHECK(answer.out.empty());
      CHECK_THAT(answer.err, Catch::StartsWith(name + ": cannot use " + file + ": "));
    }
  }
  CHECK(Limits({missing}).err == "partage-limits: cannot use " + missing + ": there is no such file or folder\n");
  CHECK(Limits({damaged, "--device", kUuid + ",cores=30"}).code == 1);
  CHECK(ContentOf(damaged) == std::string(8192, 'x'));
}

TEST_CASE("Values that are none are refused with code 2 and what would do, and nothing is written") {
  const TempFolder folder;
  const std::string file = folder.path() + "/limits";
  REQUIRE(Limits({file, "--device", kUuid + ",memory=1GiB,cores=30"}).code == 0);
  const std::string before = ContentOf(file);
  for (const std::string device : {"GPU-1", "8GiB", ""}) {
    CHECK(Limits({file, "--device", device}).err ==
          "partage-limits: --device " + device + ": \"" + device + "\" is not a UUID\nTry partage-limits --help\n");
  }
  for (const char* setting : {"memory=8gigs", "memory=0", "cores=101", "cores=1.5", "cores=0", "soft=yes", "colour=red", "memory"}) {
    INFO(setting);
    const Answer answer = Limits({file, "--device", kUuid + "," + setting});
    CHECK(answer.code == 2);
    CHECK_THAT(answer.err, Catch::StartsWith("partage-limits: --device " + kUuid + "," + setting + ": "));
  }
  CHECK(Limits({file, "--policy", "sometimes"}).code == 2);
  CHECK(Limits({file, "--priority", "2"}).code == 2);
  CHECK(Limits({file, "--json", "--priority", "0"}).code == 2);
  CHECK(ContentOf(file) == before);
}

TEST_CASE("What partage-limits writes a program obeys, in place, and partage-top shows both files") {
  const TempFolder folder;
  const std::string limits = folder.path() + "/limits", usage = folder.path() + "/usage";
  Answer answer = Limits({limits, "--device", kUuid + ",memory=3GiB,cores=40", "--policy", "force", "--priority", "0"});
  CHECK(answer.code == 0);
  CHECK(answer.out.empty());
  CHECK(answer.err.empty());
  CHECK(Limits({limits}).out == "policy force, priority 0\n" + kUuid + " memory=3221225472 cores=40\n");
  CHECK_THAT(Seen(limits, usage), Catch::StartsWith("cuMemGetInfo_v2 libpartage.so 3072\n"));
  CHECK(Limits({limits, "--device", kUuid + ",memory=512m"}).code == 0);
  CHECK_THAT(Seen(limits, usage), Catch::StartsWith("cuMemGetInfo_v2 libpartage.so 512\n"));

  answer = Top({usage, "--limits", limits});
  CHECK(answer.code == 0);
  CHECK(answer.err.empty());
  CHECK_THAT(answer.out, Catch::Contains(kUuid));
  CHECK_THAT(answer.out, Catch::Contains("512 MiB"));
  CHECK_THAT(Top({usage, "--limits", limits, "--json"}).out, Catch::Contains("536870912"));
  CHECK(Top({usage}).code == 0);
  CHECK(Top({limits}).code == 1);  // the one is not the other
  CHECK(Limits({usage}).code == 1);
  CHECK(Top({usage, "--limits", usage}).code == 1);

  CHECK(Limits({limits, "--device", kUuid + ",memory=none,cores=none"}).code == 0);
  CHECK_THAT(Seen(limits, usage), Catch::StartsWith("cuMemGetInfo_v2 libcuda.so.1 8192\n"));  // nothing is limited: nothing is hooked
}

}  // namespace
}  // namespace partage::test
