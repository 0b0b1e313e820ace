// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "test/vendors/pod_inputs.h"

namespace partage::vendors {
namespace {

constexpr auto kAcme = "name: acme\nword: ACME\nresources: {count: acme.io/gpu, memory: acme.io/mem}\n";

std::string Refusal(const std::vector<std::string>& documents) {
  const auto catalog = Catalog::FromYaml(documents);
  REQUIRE_FALSE(catalog.has_value());
  CHECK(catalog.error().code == Code::kInvalid);
  return catalog.error().message;
}

Catalog Acme() { return *Catalog::FromYaml({kAcme}); }

TEST_CASE("A vendor document fills the vendor, the rest keeps its defaults") {
  const auto catalog = Catalog::FromYaml(
      {std::string(kAcme) + "defaults: {count: 0, memoryMiB: 500, cores: 10, memoryFactor: 256}\nannotationPrefix: acme.io/\n"});
  REQUIRE(catalog.has_value());
  const auto& acme = *catalog->Find("acme");
  CHECK(
      (acme.word == "ACME" && acme.count_resource == "acme.io/gpu" && acme.cores_resource.empty() && acme.annotation_prefix == "acme.io/"));
  CHECK((acme.default_count == 0 && acme.default_mib == 500 && acme.default_cores == 10 && acme.memory_factor == 256));
  CHECK(acme.Resources() == std::vector<std::string>{"acme.io/gpu", "acme.io/mem"});
  CHECK(catalog->Find("other") == nullptr);
}

TEST_CASE("A refusal of a vendor document names the member and its value") {
  CHECK(Refusal({"name: [acme"}).find("vendor document 1: vendor document:1: is not YAML") == 0);
  CHECK(Refusal({"- acme"}) == "vendor document 1: vendor must be a map");
  CHECK(Refusal({""}) == "vendor document 1: vendor must be a map");
  CHECK(Refusal({kAcme, "nmae: b"}) ==
        "vendor document 2: vendor has an unknown member \"nmae\"; known are annotationPrefix, defaults, examples, hami, name, resources, "
        "uuidForms, word");
  CHECK(Refusal({"name: acme\nresources: {coutn: a}"}) ==
        "vendor document 1: vendor.resources has an unknown member \"coutn\"; known are cores, count, memory, percent, priority");
  CHECK(Refusal({"name: acme\nresources: {count: [a]}"}) == "vendor document 1: vendor.resources.count must be a text");
  CHECK(Refusal({std::string(kAcme) + "defaults: {cores: many}"}) ==
        "vendor document 1: vendor.defaults.cores must be a whole number from 0 to 2147483647, not \"many\"");
  CHECK(Refusal({std::string(kAcme) + "defaults: {cores: -1}"}) ==
        "vendor document 1: vendor.defaults.cores must be a whole number from 0 to 2147483647, not \"-1\"");
}

TEST_CASE("Names and numbers that cannot work are refused") {
  CHECK(Refusal({"word: X\nresources: {count: a.io/b}"}) == "vendor name \"\" must be lower-case letters, digits and '-'");
  CHECK(Refusal({"name: Acme\nresources: {count: a.io/b}"}) == "vendor name \"Acme\" must be lower-case letters, digits and '-'");
  CHECK(Refusal({"name: acme"}) == "vendor acme: resources.count is missing");
  CHECK(Refusal({std::string(kAcme) + "defaults: {cores: 101}"}) == "vendor acme: default cores 101 is not from 0 to 100");
  CHECK(Refusal({std::string(kAcme) + "defaults: {memoryFactor: 0}"}) == "vendor acme: memory factor 0 is not from 1 to 1048576");
  CHECK(Refusal({std::string(kAcme) + "annotationPrefix: acme.io"}) ==
        "vendor acme: annotationPrefix \"acme.io\" must be a domain and '/', like nvidia.com/");
}

TEST_CASE("Only valid extended-resource names are accepted") {
  for (const auto* name : {"gpu", "/gpu", "acme.io/", "ACME.io/gpu", "acme..io/gpu", "acme.io/-gpu", "acme.io/gpu_", "acme.io/g/pu",
                           "kubernetes.io/gpu", "x.kubernetes.io/gpu", "requests.acme.io/gpu", "acme.io/g pu"}) {
    INFO(name);
    CHECK(Refusal({fmt::format("name: acme\nresources: {{count: '{}'}}", name)}) ==
          fmt::format("vendor acme: \"{}\" is not a valid extended resource like nvidia.com/gpu", name));
  }
  CHECK(Catalog::FromYaml({"name: acme\nresources: {count: iluvatar.ai/MR-V100.vMem_2}"}).has_value());
}

TEST_CASE("Two vendors cannot share a name, a resource or an annotation") {
  CHECK(Refusal({kAcme, "name: acme\nresources: {count: b.io/gpu}"}) == "two vendors have the name acme");
  CHECK(Refusal({kAcme, "name: b\nresources: {count: acme.io/mem}"}) == "vendor b: acme.io/mem is already a name of vendor acme");
  CHECK(Refusal({"name: b\nresources: {count: b.io/a, memory: b.io/a}"}) == "vendor b: b.io/a is already a name of vendor b");
  CHECK(Refusal({"name: a\nresources: {count: a.io/a}\nhami: {allocated: k}",
                 "name: b\nresources: {count: b.io/a}\nhami: {allocated: k}"}) == "vendor b: k is already a name of vendor a");
}

TEST_CASE("A vendor is replaced by name, and left alone when the new one is refused") {
  auto catalog = Acme();
  auto changed = *catalog.Find("acme");
  changed.count_resource = "acme.io/card";
  CHECK(catalog.Replace(changed).has_value());
  CHECK(catalog.Find("acme")->count_resource == "acme.io/card");
  changed.count_resource = "nonsense";
  CHECK(catalog.Replace(changed).error().code == Code::kInvalid);
  CHECK(catalog.Find("acme")->count_resource == "acme.io/card");
  changed.name = "other";
  CHECK(catalog.Replace(changed).error().message == "there is no vendor \"other\"");
}

TEST_CASE("A pod wants devices by a count, or by a part when the vendor has a default count") {
  const auto catalog = Acme();
  const auto wants = [&](Quantities limits) {
    return catalog.Wants(test::Pod().Container("idle", {}).Container("main", std::move(limits)));
  };
  CHECK(wants({{"acme.io/gpu", "1"}}));
  CHECK(wants({{"acme.io/mem", "0"}}));
  CHECK(wants({{"acme.io/gpu", "nonsense"}}));
  CHECK_FALSE(wants({{"acme.io/gpu", "0"}}));
  CHECK_FALSE(wants({{"acme.io/gpu", "0k"}, {"acme.io/mem", "1000"}}));
  CHECK_FALSE(wants({{"cpu.io/x", "1"}}));
  CHECK_FALSE(wants({}));
  CHECK(catalog.Wants(test::Pod().Container("main", {}).Requests({{"acme.io/gpu", "1"}})));
  CHECK_FALSE(catalog.Wants(test::Pod().Container("main", {{"acme.io/gpu", "0"}}).Requests({{"acme.io/gpu", "1"}})));
}

TEST_CASE("Without a default count, a part alone asks for nothing") {
  auto catalog = Acme();
  auto acme = *catalog.Find("acme");
  acme.default_count = 0;
  REQUIRE(catalog.Replace(acme).has_value());
  const auto pod = test::Pod().Container("main", {{"acme.io/mem", "1000"}});
  CHECK_FALSE(catalog.Wants(pod));
  CHECK_FALSE(catalog.Parse(pod, {})->wants_devices());
}

}  // namespace
}  // namespace partage::vendors
