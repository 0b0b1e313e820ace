// SPDX-License-Identifier: Apache-2.0
// What every metric owes, whether of the catalogue or of a collector.

#include <algorithm>
#include <catch2/catch.hpp>
#include <regex>
#include <set>

#include "test/metrics/sample.h"

namespace partage::test {
namespace {

using metrics::Desc;
using Type = Desc::Type;

std::vector<const Desc*> AllDescs() {
  auto descs = metrics::kCatalog;
  for (const auto& [name, spec] : metrics::CollectorRegistry::All()) descs.insert(descs.end(), spec.descs.begin(), spec.descs.end());
  return descs;
}

bool EndsWith(std::string_view text, std::string_view end) { return text.ends_with(end); }

TEST_CASE("There is a catalogue and there are collectors") {
  CHECK(metrics::kCatalog.size() >= 8);
  CHECK(metrics::CollectorRegistry::All().size() >= 6);
}

TEST_CASE("Every metric has a name of its own") {
  std::set<std::string_view> names;
  for (const auto* desc : AllDescs()) CHECK(names.insert(desc->name).second);
}

TEST_CASE("Names have a known prefix and the suffix of their type, and no suffix of another") {
  const std::regex name("(partage|hami|process)(_[a-z][a-z0-9]*)+");
  for (const auto* desc : AllDescs()) {
    INFO(desc->name);
    CHECK(std::regex_match(std::string(desc->name), name));
    CHECK(EndsWith(desc->name, "_total") == (desc->type == Type::kCounter));
    CHECK(EndsWith(desc->name, "_seconds") >= (desc->type == Type::kHistogram));
    for (const auto* reserved : {"_count", "_sum", "_bucket", "_mib", "_mb", "_percent", "_ms"})
      CHECK_FALSE(EndsWith(desc->name, reserved));
  }
}

TEST_CASE("Every help text is one sentence") {
  for (const auto* desc : AllDescs()) {
    INFO(desc->name << ": " << desc->help);
    REQUIRE(desc->help.size() > 4);
    CHECK((std::isupper(static_cast<unsigned char>(desc->help.front())) || desc->help.starts_with('1')));
    CHECK(desc->help.ends_with('.'));
    CHECK(desc->help.find(". ") == std::string_view::npos);
  }
}

TEST_CASE("Every label is known to be bounded, but those of pod series, which are off unless asked for") {
  const std::set<std::string_view> bounded = {
      "outcome",  "reason",    "path",    "state",    "node",        "device_uuid",  "device_index",
      "vendor",   "model",     "numa",    "zone",     "device_type", "device_cores", "device_memory_limit",
      "listener", "to",        "version", "revision", "build_date",  "go_version",   "compiler",
      "platform", "namespace", "quota",   "key"};  // the last three: one for each limit that an administrator wrote
  const auto& pods = metrics::CollectorRegistry::All().at("hami_pods").descs;
  for (const auto* desc : AllDescs()) {
    if (std::find(pods.begin(), pods.end(), desc) != pods.end()) continue;
    INFO(desc->name);
    for (const auto label : desc->labels) CHECK(bounded.contains(label));
  }
}

TEST_CASE("Histograms have ascending buckets, nothing else has any") {
  for (const auto* desc : AllDescs()) {
    INFO(desc->name);
    CHECK(desc->buckets.empty() == (desc->type != Type::kHistogram));
    CHECK(std::adjacent_find(desc->buckets.begin(), desc->buckets.end(), std::greater_equal<>()) == desc->buckets.end());
  }
}

TEST_CASE("The catalogue names every row once and in its registry's type") {
  metrics::Registry registry;
  TouchCatalog(registry);
  const auto text = registry.Expose();
  for (const auto* desc : metrics::kCatalog) CHECK(text.find("# HELP " + std::string(desc->name) + " ") != std::string::npos);
}

}  // namespace
}  // namespace partage::test
