// SPDX-License-Identifier: Apache-2.0
// docs/intercept.md names exactly the environment variables that the library reads.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "intercept/environment.h"

namespace partage::intercept {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

std::string TextOf(const fs::path& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What the expression's first group matches in the text.
Names Matches(const std::string& text, const std::regex& expression) {
  Names names;
  for (std::sregex_iterator match(text.begin(), text.end(), expression), end; match != end; ++match) names.insert((*match)[1]);
  return names;
}

Names g_asked;

const char* Ask(const char* name) {
  g_asked.insert(name);
  return nullptr;
}

/// Sources of everything that is linked into the library.
std::string Sources() {
  std::string text;
  for (const char* folder : {"/src/intercept", "/src/shm"}) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(std::string(PARTAGE_SOURCE) + folder)) {
      if (entry.path().extension() == ".cc" || entry.path().extension() == ".h") text += TextOf(entry.path());
    }
  }
  return text;
}

/// What ReadEnvironment asks for, and what others do by name.
Names AskedFor() {
  g_asked.clear();
  ReadEnvironment(Ask);
  Names names = g_asked;
  names.merge(Matches(Sources(), std::regex("Variable\\(\"([A-Z_]+)\"")));
  return names;
}

/// The page's table and the sentence about variables of others. A row whose meaning begins with "none" is of a variable that is not read.
Names Documented() {
  const std::string page = TextOf(std::string(PARTAGE_SOURCE) + "/docs/intercept.md");
  const std::size_t table = page.find("| variable | value | meaning |");
  REQUIRE(table != std::string::npos);
  const std::regex name("`([A-Z][A-Z_]+)`");
  std::istringstream lines(page.substr(table, page.find("\n\n", table) - table));
  Names names;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t value = line.find(" | ");
    if (line.find("| none: ") != std::string::npos) continue;
    for (const std::string& stem : Matches(line.substr(0, value), name)) {
      names.insert(stem);
      if (line.find("`…_0` to `…_15`") == std::string::npos) continue;
      for (int i = 0; i < 16; ++i) names.insert(stem + "_" + std::to_string(i));
    }
  }
  const std::size_t others = page.find("Read, but not ours: ");
  REQUIRE(others != std::string::npos);
  names.merge(Matches(page.substr(others, page.find('\n', others) - others), name));
  return names;
}

}  // namespace

TEST_CASE("The page names every environment variable that the library reads and no other") {
  const Names read = AskedFor();
  CHECK(read.size() > 40);
  CHECK(Documented() == read);
}

TEST_CASE("Variables are read at one place, which programs with raised privileges do not get past") {
  const std::string sources = Sources();
  std::size_t calls = 0;
  for (std::size_t at = 0; (at = sources.find("getenv(", at)) != std::string::npos; ++at) ++calls;
  CHECK(calls == 1);
  CHECK(sources.find("return secure_getenv(name);") != std::string::npos);
  CHECK(sources.find("environ[") == std::string::npos);
}

}  // namespace partage::intercept
