// SPDX-License-Identifier: Apache-2.0
// partage-limits and partage-top.
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "main/limits_command.h"
#include "main/top_view.h"
#include "test/shm/child.h"
#include "test/support/temp_folder.h"

namespace partage::app {
namespace {

const std::string kFirst = "GPU-00112233-4455-6677-8899-aabbccddeeff";
const std::string kSecond = "MIG-ffeeddcc-bbaa-9988-7766-554433221100";

struct Outcome {
  int status;
  std::string out, err;
};

template <class Tool>
Outcome Run(Tool tool, std::vector<std::string> arguments) {
  std::ostringstream out, err;
  const int status = tool(std::move(arguments), out, err);
  return {status, out.str(), err.str()};
}

struct Files {
  test::TempFolder folder;
  std::string limits = folder.path() + "/limits";
  std::string usage = folder.path() + "/usage";

  Outcome Limits(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), limits);
    return Run(RunLimits, std::move(arguments));
  }
  Outcome Top(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), usage);
    return Run(RunTop, std::move(arguments));
  }
};

}  // namespace

TEST_CASE("partage-limits writes a new file and shows it") {
  const Files files;
  REQUIRE(files.Limits({"--device", kFirst + ",memory=1.5g,cores=30,soft=on", "--device=" + kSecond, "--policy", "force", "--priority=0"})
              .status == 0);
  CHECK(files.Limits({}).out ==
        "policy force, priority 0\n" + kFirst + " memory=1610612736 cores=30 soft\n" + kSecond + " memory=none cores=none\n");
  const auto json = nlohmann::json::parse(files.Limits({"--json"}).out);
  CHECK(json["policy"] == "force");
  CHECK(json["devices"][0]["memoryBytes"] == 1610612736);
  CHECK(json["devices"][0]["soft"] == true);
  CHECK(json["devices"][1]["memoryBytes"].is_null());
}

TEST_CASE("partage-limits changes what is named, for running processes, and keeps the rest") {
  const Files files;
  REQUIRE(
      files.Limits({"--device", kFirst + ",memory=8GiB,cores=30,soft=on", "--device", kSecond + ",cores=5", "--priority", "0"}).status ==
      0);
  shm::Limits running;
  REQUIRE(running.Open(files.limits.c_str()) == shm::Fault::kNone);
  REQUIRE(files.Limits({"--device", kFirst + ",memory=3000m"}).status == 0);
  CHECK(running.MemoryBytes(0) == 3000ull << 20);
  CHECK(files.Limits({}).out ==
        "policy default, priority 0\n" + kFirst + " memory=3145728000 cores=30 soft\n" + kSecond + " memory=none cores=5\n");
  REQUIRE(files.Limits({"--device", kFirst + ",memory=none,cores=none,soft=off,oversubscribe=on"}).status == 0);
  CHECK(files.Limits({}).out ==
        "policy default, priority 0\n" + kFirst + " memory=none cores=none oversubscribe\n" + kSecond + " memory=none cores=5\n");
  REQUIRE(files.Limits({"--replace", "--device", kSecond}).status == 0);
  CHECK(files.Limits({}).out == "policy default, priority 1\n" + kSecond + " memory=none cores=none\n");
}

TEST_CASE("partage-limits refuses what it does not understand and changes nothing") {
  const Files files;
  REQUIRE(files.Limits({"--device", kFirst + ",memory=8GiB"}).status == 0);
  const std::string before = files.Limits({}).out;
  for (const char* setting :
       {"memory=8GB", "memory=0", "memory=", "memory", "cores=0", "cores=101", "cores=ten", "soft=yes", "soft", "size=1", ""}) {
    const Outcome outcome = files.Limits({"--device", kSecond, "--device", kFirst + ",cores=50," + setting + ",cores=60"});
    CHECK(outcome.status == 2);
    CHECK(outcome.err.find(setting) != std::string::npos);
  }
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{{"--policy", "always"},
                                                                                     {"--priority", "2"},
                                                                                     {"--priority", "-1"},
                                                                                     {"--device", "0"},
                                                                                     {"--replace"},
                                                                                     {"--json", "--priority", "0"},
                                                                                     {"--bogus"},
                                                                                     {"--device"},
                                                                                     {"two", "files"}}) {
    CHECK(files.Limits(wrong).status == 2);
  }
  CHECK(files.Limits({}).out == before);
}

TEST_CASE("partage-limits says why it refuses a file, and leaves it alone") {
  const Files files;
  const Outcome missing = files.Limits({});
  CHECK(missing.status == 1);
  CHECK(missing.err.find("there is no such file") != std::string::npos);
  std::ofstream(files.limits) << std::string(8192, 'x');
  const Outcome foreign = files.Limits({"--device", kFirst});
  CHECK(foreign.status == 1);
  CHECK(foreign.err.find("not a Partage file") != std::string::npos);
  CHECK(std::ifstream(files.limits).get() == 'x');
}

TEST_CASE("There is room for sixteen devices and the seventeenth is refused") {
  shm::LimitsContent content;
  for (unsigned i = 0; i <= shm::kMaxDevices; ++i) {
    const std::string uuid = "00000000-0000-0000-0000-0000000000" + std::to_string(10 + i);
    CHECK(ChangeDevice(content, uuid).has_value() == (i < shm::kMaxDevices));
  }
  CHECK(ChangeDevice(content, "GPU-00000000-0000-0000-0000-000000000010,cores=7").has_value());  // the same bytes
  CHECK(content.device[0].cores_percent == 7);
  CHECK(content.devices == shm::kMaxDevices);
}

TEST_CASE("partage-top shows devices with their limits and processes with what they hold, the dead among them") {
  const Files files;
  shm::Region region;
  REQUIRE(region.OpenOrCreate(files.usage.c_str()) == shm::Fault::kNone);
  REQUIRE(region.Claim() == shm::Fault::kNone);
  REQUIRE(region.Reserve(0, shm::MemoryClass::kContext, 300ull << 20, shm::kNoLimit));
  REQUIRE(region.Reserve(0, shm::MemoryClass::kLinear, 1ull << 30, shm::kNoLimit));
  REQUIRE_FALSE(region.Reserve(0, shm::MemoryClass::kLinear, 1, 1));
  region.gpu_ns(0) = 2'500'000'000;
  shm::Child dead([&] {
    region.AfterFork();
    return region.Claim() == shm::Fault::kNone && region.Reserve(1, shm::MemoryClass::kPool, 1000, shm::kNoLimit) ? 0 : 1;
  });
  REQUIRE(dead.Wait() == 0);
  REQUIRE(files.Limits({"--device", kFirst + ",memory=4GiB,cores=30"}).status == 0);

  const std::string text = files.Top({"--limits", files.limits}).out;
  for (const char* part : {kFirst.c_str(), "1.3 GiB  4 GiB", "30 %", "context 300 MiB, linear 1 GiB", "2.5 s", "gone", "1000 B"}) {
    INFO(part << " in\n" << text);
    CHECK(text.find(part) != std::string::npos);
  }
  const auto json = nlohmann::json::parse(files.Top({"--json", "--limits", files.limits}).out);
  CHECK(json["devices"][0]["usedBytes"] == 1324ull << 20);
  CHECK(json["devices"][0]["limitBytes"] == 4ull << 30);
  CHECK(json["devices"][0]["refused"] == 1);
  CHECK(json["devices"][1]["usedBytes"] == 1000);
  CHECK(json["processes"][0]["pid"] == getpid());
  CHECK(json["processes"][0]["gone"] == false);
  CHECK(json["processes"][0]["devices"][0]["bytes"]["linear"] == 1ull << 30);
  CHECK(json["processes"][1]["gone"] == true);
  CHECK(region.Used(1) == 1000);  // looking changes nothing
}

TEST_CASE("partage-top refuses files that are not usage files, and says why") {
  const Files files;
  CHECK(files.Top({}).err.find("there is no such file") != std::string::npos);
  REQUIRE(files.Limits({"--device", kFirst}).status == 0);
  const Outcome mixed_up = Run(RunTop, {files.limits});
  CHECK(mixed_up.status == 1);
  CHECK(mixed_up.err.find("not a Partage file of this kind") != std::string::npos);
  shm::Region region;
  REQUIRE(region.OpenOrCreate(files.usage.c_str()) == shm::Fault::kNone);
  CHECK(files.Top({"--limits", files.usage}).status == 1);
  CHECK(Run(RunTop, {}).status == 2);
}

TEST_CASE("Both programs carry their manual, in lines a terminal holds") {
  for (const Outcome& outcome : {Run(RunLimits, {"--help"}), Run(RunTop, {"--help"})}) {
    CHECK(outcome.status == 0);
    for (const char* section : {"NAME\n", "SYNOPSIS\n", "DESCRIPTION\n", "OPTIONS\n", "EXIT STATUS\n", "SEE ALSO\n"})
      CHECK(outcome.out.find(section) != std::string::npos);
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 110);
  }
}

}  // namespace partage::app
