// SPDX-License-Identifier: Apache-2.0
// The table against what NVIDIA's drivers export.
#include <catch2/catch.hpp>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "test/intercept/abi/elf_file.h"
#include "test/intercept/nvidia/files.h"

namespace partage::test {
namespace {

struct Row {
  const char* name;
  int since;
};
const Row kCudaRows[] = {
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) {#name, since},
#include "intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
};

const std::set<std::string> kAllRows = {
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) #name,
#define PARTAGE_NVML_FUNCTION PARTAGE_CUDA_FUNCTION
#include "intercept/api/cuda_functions.inc"
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
#undef PARTAGE_CUDA_FUNCTION
};

/// One line of waved_through.txt.
struct Rule {
  std::string pattern;
  std::regex regex;
  std::string reason;
  bool used = false;
};

std::vector<Rule> ReadRules() {
  std::vector<Rule> rules;
  std::ifstream file(PARTAGE_WAVED_THROUGH);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::string pattern = line.substr(0, line.find(' '));
    const std::size_t reason = line.find_first_not_of(' ', pattern.size());
    rules.push_back({pattern, std::regex(pattern), reason == std::string::npos ? "" : line.substr(reason)});
  }
  return rules;
}

std::set<std::string> Hooked() { return ElfFile(PARTAGE_LIBRARY).exports(); }

bool IsWavedThrough(std::vector<Rule>& rules, const std::string& name) {
  bool found = false;
  for (Rule& rule : rules) {
    if (!std::regex_match(name, rule.regex)) continue;
    rule.used = true;
    found = true;
  }
  return found;
}

}  // namespace

TEST_CASE("Every export of NVIDIA's libraries is hooked or waved through with a reason, and no rule is idle or covers a hook") {
  if (!HaveNvidiaFiles()) return;
  std::vector<Rule> rules = ReadRules();
  const std::set<std::string> hooked = Hooked();
  for (const std::string& branch : kBranches) {
    for (const char* library : {"libcuda.so.1", "libnvidia-ml.so.1"}) {
      for (const std::string& name : ElfFile(DriverFolder(branch) + "/" + library).exports()) {
        INFO(branch << " " << name);
        const bool waved_through = IsWavedThrough(rules, name);
        CHECK(waved_through != (hooked.count(name) == 1));
      }
    }
  }
  for (const std::string& name : kAllRows) {  // those of drivers newer than ours to try, too
    INFO(name);
    const bool waved_through = IsWavedThrough(rules, name);
    CHECK(waved_through != (hooked.count(name) == 1));
  }
  for (const Rule& rule : rules) {
    INFO(rule.pattern);
    CHECK(rule.used);
    CHECK(rule.reason.size() > 5);
  }
}

TEST_CASE("A row's age is right: each driver exports the rows up to its CUDA version and none above") {
  if (!HaveNvidiaFiles()) return;
  const std::map<std::string, int> versions = {{"470", 11040}, {"535", 12020}, {"550", 12040}};
  for (const std::string& branch : kBranches) {
    const std::set<std::string> exports = ElfFile(DriverFolder(branch) + "/libcuda.so.1").exports();
    for (const Row& row : kCudaRows) {
      INFO(branch << " " << row.name << " since " << row.since);
      CHECK((exports.count(row.name) == 1) == (row.since <= versions.at(branch)));
    }
  }
}

}  // namespace partage::test
