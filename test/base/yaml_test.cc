// SPDX-License-Identifier: Apache-2.0
#include "base/yaml.h"

#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

namespace partage {
namespace {

std::string Repeated(std::string_view piece, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += piece;
  return text;
}

/// "" when it is taken.
std::string Complaint(const std::string& text) {
  const auto one = LoadYaml(text, "f.yaml");
  const auto all = LoadYamlDocuments(text, "f.yaml");
  REQUIRE(one.has_value() == all.has_value());
  if (one) return "";
  CHECK(one.error().code == Code::kInvalid);
  CHECK(one.error().message == all.error().message);
  return one.error().message;
}

TEST_CASE("YAML is read as yaml-cpp reads it") {
  CHECK(LoadYaml("a: [1, {b: c}]", "f").value()["a"][1]["b"].Scalar() == "c");
  CHECK(LoadYaml("", "f").value().IsNull());
  CHECK(LoadYaml("# nothing", "f").value().IsNull());
  CHECK(LoadYaml("a: &x [1, 2]\nb: *x", "f").value()["b"][1].Scalar() == "2");
  const auto documents = LoadYamlDocuments("a\n---\n---\n&x b\n---\n- &x c\n- *x\n", "f").value();
  REQUIRE(documents.size() == 4);
  CHECK(documents[3][1].Scalar() == "c");
  CHECK(LoadYamlDocuments("", "f").value().empty());
}

TEST_CASE("What is not YAML is refused with its line") { CHECK(Complaint("a: 1\nb: [1\nc: }\n").find("f.yaml:3: is not YAML: ") == 0); }

TEST_CASE("A bracket too many ends the reading") {
  for (const auto* text : {"[a],", "[a]]", "{a: b}}", "]", "[a] ]", "--- }"}) {
    INFO(text);
    const auto documents = LoadYamlDocuments(text, "f.yaml");
    REQUIRE_FALSE(documents.has_value());
    CHECK(documents.error().message.find("f.yaml:1: is not YAML: ") == 0);
  }
}

TEST_CASE("Deeply nested YAML is refused") {
  const std::size_t most = kMostYamlDepth;
  CHECK(Complaint(Repeated("[", most) + Repeated("]", most)).empty());
  CHECK(Complaint(Repeated("- ", most)).empty());
  for (const auto* level : {"[", "{a: ", "- ", "? "})
    CHECK(Complaint(Repeated(level, most + 1)) == "f.yaml:1: is nested more than 64 deep");
  for (const auto* level : {"[", "{", "[{a: ", "{\"a\": "})
    CHECK(Complaint(Repeated(level, 500'000)) == "f.yaml: more than 1000 brackets are open at once");
  CHECK(Complaint(Repeated("- ", 500'000)) == "f.yaml:1: is nested more than 64 deep");
  CHECK(Complaint("a: " + Repeated("[\"]\", ", 20'000)) == "f.yaml:1: is nested more than 64 deep");
}

TEST_CASE("A text too long is refused") {
  CHECK(LoadYaml(std::string(kMostYamlBytes, '#'), "f.yaml").has_value());
  CHECK(Complaint(std::string(kMostYamlBytes + 1, '#')) == "f.yaml: is over 4194304 bytes");
}

TEST_CASE("A few lines of aliases that stand for billions of values are refused") {
  std::string bomb = "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1]\n";
  for (int level = 1; level < 60; ++level)
    bomb += fmt::format("x{}: &x{} [*x{}{}]\n", level, level, level - 1, Repeated(fmt::format(", *x{}", level - 1), 7));
  CHECK(Complaint(bomb) == "f.yaml:7: more than 500000 values, aliases followed; use several files");
}

TEST_CASE("Values are counted over all documents") {
  CHECK_FALSE(LoadYamlDocuments(Repeated("---\n", 600'000), "f").has_value());
  CHECK(LoadYamlDocuments(Repeated("---\n", 1000), "f").has_value());
}

TEST_CASE("An alias in what it stands for is refused") {
  CHECK(Complaint("a: &x [1, *x]") == "f.yaml:1: an alias cannot stand in what it stands for");
  CHECK(Complaint("a: &x {b: {c: *x}}") == "f.yaml:1: an alias cannot stand in what it stands for");
  CHECK_FALSE(LoadYamlDocuments("&x a\n---\n*x", "f").has_value());
}

/// Lists of scalars and of aliases of lists before them, and how much they stand for.
struct Laughs {
  explicit Laughs(unsigned seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t n) { return random() % n; };
    std::vector<std::pair<std::int64_t, std::size_t>> lists;  // values, height
    const std::size_t count = 2 + below(200), fan = 1 + below(4);
    for (std::size_t i = 0; i < count; ++i) {
      auto& [values, height] = lists.emplace_back(1, 1);
      text += fmt::format("- &x{} [", i);
      for (std::size_t member = below(fan) + 1; member > 0; --member) {
        const std::size_t of = i - std::min(i, 1 + below(3));
        text += of < i ? fmt::format("*x{},", of) : "1,";
        values = std::min(most, values + (of < i ? lists[of].first : 1));
        if (of < i) height = std::max(height, lists[of].second + 1);
      }
      text += "]\n";
      total = std::min(most, total + values);
      depth = std::max(depth, height + 1);
    }
  }

  const std::int64_t most = 1'000'000'000;
  std::string text;
  std::int64_t total = 1;
  std::size_t depth = 1;
};

TEST_CASE("Aliases count as all that they stand for") {
  int taken = 0, too_many = 0, too_deep = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    const Laughs laughs(seed);
    INFO("seed " << seed << "\n" << laughs.text);
    const bool many = laughs.total > kMostYamlValues, deep = laughs.depth > kMostYamlDepth;
    CHECK(Complaint(laughs.text).empty() == (!many && !deep));
    ++(many ? too_many : deep ? too_deep : taken);
  }
  CHECK(std::min({taken, too_many, too_deep}) >= 10);
}

}  // namespace
}  // namespace partage
