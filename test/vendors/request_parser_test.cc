// SPDX-License-Identifier: Apache-2.0
// The plain forms are examples of charts/partage/vendors/nvidia.yaml; here is what they leave.
#include <catch2/catch.hpp>
#include <random>

#include "test/vendors/pod_inputs.h"

namespace partage::vendors {
namespace {

using device::ContainerKind;
using device::DeviceRequest;
using test::Pod;

const Catalog kVendors = Catalog::Embedded();

Catalog WithDefaults(std::int32_t count, std::int32_t mib, std::int32_t cores, std::int32_t factor) {
  auto catalog = Catalog::Embedded();
  auto nvidia = *catalog.Find("nvidia");
  nvidia.default_count = count;
  nvidia.default_mib = mib;
  nvidia.default_cores = cores;
  nvidia.memory_factor = factor;
  REQUIRE(catalog.Replace(nvidia).has_value());
  return catalog;
}

DeviceRequest Ask(Quantities limits, const Catalog& catalog = kVendors) {
  const auto request = catalog.Parse(Pod().Container("main", std::move(limits)), {});
  INFO((request ? "" : request.error().message));
  REQUIRE(request.has_value());
  return request->containers.at(0).devices.at(0);
}

std::string Refusal(Quantities limits, const Catalog& catalog = kVendors) {
  const auto request = catalog.Parse(Pod().Container("main", std::move(limits)), {});
  REQUIRE_FALSE(request.has_value());
  CHECK(request.error().code == Code::kInvalid);
  return request.error().message;
}

std::string MemoryRefusal(std::string text, const Catalog& catalog = kVendors) {
  const auto message = Refusal({{"nvidia.com/gpumem", text}}, catalog);
  const auto start = fmt::format("container main: nvidia.com/gpumem \"{}\" ", text);
  CHECK(message.substr(0, start.size()) == start);
  return message.substr(std::min(start.size(), message.size()));
}

TEST_CASE("All containers are kept in order, with those that want nothing") {
  const auto request = kVendors.Parse(Pod()
                                          .Container("warm", {{"nvidia.com/gpumem", "500"}}, ContainerKind::kInit)
                                          .Container("proxy", {}, ContainerKind::kSidecar)
                                          .Container("main", {{"nvidia.com/gpu", "2"}, {"nvidia.com/priority", "1"}}),
                                      {});
  REQUIRE(request.has_value());
  REQUIRE(request->containers.size() == 3);
  CHECK((request->containers[0].name == "warm" && request->containers[0].kind == ContainerKind::kInit));
  CHECK((request->containers[1].devices.empty() && request->containers[1].kind == ContainerKind::kSidecar));
  CHECK(request->containers[2].devices.at(0) == DeviceRequest{.vendor = "nvidia", .count = 2, .mib = 0, .percent = 100, .cores = 100});
  CHECK(request->containers[2].priority == 1);
}

TEST_CASE("A pod that wants nothing gives an empty request, whatever its annotations say") {
  const auto request = kVendors.Parse(Pod().Container("main", {}).Annotation("hami.io/node-scheduler-policy", "nonsense"), {});
  REQUIRE(request.has_value());
  CHECK_FALSE(request->wants_devices());
}

TEST_CASE("Limits win over requests, and requests alone are read") {
  const auto parse = [](const Pod& pod) { return kVendors.Parse(pod, {})->containers.at(0).devices.at(0); };
  CHECK(parse(Pod().Container("a", {{"nvidia.com/gpumem", "1000"}}).Requests({{"nvidia.com/gpumem", "2000"}})).mib == 1000);
  CHECK(parse(Pod().Container("a", {}).Requests({{"nvidia.com/gpumem", "2000"}})).mib == 2000);
}

TEST_CASE("Defaults fill what was not asked for") {
  const auto catalog = WithDefaults(2, 4000, 15, 1);
  CHECK(Ask({{"nvidia.com/gpucores", "30"}}, catalog) == DeviceRequest{.vendor = "nvidia", .count = 2, .mib = 4000, .cores = 30});
  CHECK(Ask({{"nvidia.com/gpumem", "500"}}, catalog) == DeviceRequest{.vendor = "nvidia", .count = 2, .mib = 500, .cores = 15});
  CHECK(Ask({{"nvidia.com/gpumem", "0"}}, catalog) == DeviceRequest{.vendor = "nvidia", .count = 2, .mib = 4000, .cores = 15});
  CHECK(Ask({{"nvidia.com/gpumem-percentage", "50"}}, catalog) ==
        DeviceRequest{.vendor = "nvidia", .count = 2, .percent = 50, .cores = 15});
}

TEST_CASE("The memory factor makes MiB of the unit") {
  const auto catalog = WithDefaults(1, 0, 0, 256);
  CHECK(Ask({{"nvidia.com/gpumem", "4"}}, catalog).mib == 1024);
  CHECK(Ask({{"nvidia.com/gpumem", "8388607"}}, catalog).mib == 2147483392);
  CHECK(MemoryRefusal("8388608", catalog) == "is not a number of units of 256 MiB; did you mean 1?");
  CHECK(MemoryRefusal("16Gi", catalog) == "is not a number of units of 256 MiB; did you mean 64?");
}

TEST_CASE("Memory written in bytes is refused with the number of MiB") {
  CHECK(MemoryRefusal("16Gi") == "is not a number of MiB; did you mean 16384?");
  CHECK(MemoryRefusal("3000Mi") == "is not a number of MiB; did you mean 3000?");
  CHECK(MemoryRefusal("8G") == "is not a number of MiB; did you mean 7629?");
  CHECK(MemoryRefusal("1Gi") == "is not a number of MiB; did you mean 1024?");
  CHECK(MemoryRefusal("0.5Gi") == "is not a number of MiB; did you mean 512?");
  CHECK(MemoryRefusal("1500Ki") == "is not a number of MiB; did you mean 1?");
  CHECK(MemoryRefusal("17179869184") == "is not a number of MiB; did you mean 16384?");
  CHECK(MemoryRefusal("2147483648") == "is not a number of MiB; did you mean 2048?");
  CHECK(MemoryRefusal("7Ei") == "is not a number of MiB; 16 GiB are 16384");
}

TEST_CASE("Memory in any spelling of a plain number is accepted") {
  CHECK(Ask({{"nvidia.com/gpumem", "3k"}}).mib == 3000);
  CHECK(Ask({{"nvidia.com/gpumem", "1e3"}}).mib == 1000);
  CHECK(Ask({{"nvidia.com/gpumem", "16Ki"}}).mib == 16384);
  CHECK(Ask({{"nvidia.com/gpumem", "2147483647"}}).mib == 2147483647);
}

TEST_CASE("Numbers that are not whole, negative or beyond reason are refused with the way out") {
  CHECK(MemoryRefusal("0.5") == "is not a whole number; give MiB without a unit");
  CHECK(MemoryRefusal("lots") == "is not a Kubernetes quantity; give MiB without a unit");
  CHECK(MemoryRefusal("-1") == "is negative; give MiB without a unit");
  CHECK(Refusal({{"nvidia.com/gpu", "-2"}}) == "container main: nvidia.com/gpu \"-2\" is negative; give 1 or more");
  CHECK(Refusal({{"nvidia.com/gpu", "5k"}}) == "container main: nvidia.com/gpu \"5k\" is more than any node has; give at most 1024");
  CHECK(Refusal({{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem-percentage", "-3"}}) ==
        "container main: nvidia.com/gpumem-percentage \"-3\" is negative; give 1 to 100");
  CHECK(Refusal({{"nvidia.com/gpu", "1"}, {"nvidia.com/gpucores", "1.5"}}) ==
        "container main: nvidia.com/gpucores \"1.5\" is not a whole number; give 0 to 100");
  CHECK(Refusal({{"nvidia.com/gpu", "1"}, {"nvidia.com/priority", "-1"}}) ==
        "container main: nvidia.com/priority \"-1\" is negative; give 0 (high) or 1 (low)");
}

TEST_CASE("A percentage counts where memory is given as zero, and 100 is exclusive") {
  CHECK(Ask({{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", "0"}, {"nvidia.com/gpumem-percentage", "40"}}).percent == 40);
  CHECK(Ask({{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", "0"}, {"nvidia.com/gpumem-percentage", "100"}}).exclusive());
  CHECK(Ask({{"nvidia.com/gpumem-percentage", "100"}}).exclusive());
  CHECK_FALSE(Ask({{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem-percentage", "0"}}).exclusive());
}

TEST_CASE("One container may ask several vendors") {
  auto documents = EmbeddedDocuments();
  documents.push_back("name: acme\nword: ACME\nresources: {count: acme.io/gpu}");
  const auto catalog = Catalog::FromYaml(documents);
  REQUIRE(catalog.has_value());
  const auto request = catalog->Parse(Pod().Container("main", {{"nvidia.com/gpumem", "1000"}, {"acme.io/gpu", "2"}}), {});
  REQUIRE(request.has_value());
  REQUIRE(request->containers[0].devices.size() == 2);
  CHECK(request->containers[0].devices[1] == DeviceRequest{.vendor = "acme", .count = 2, .cores = 0});
}

TEST_CASE("Random quantities never do worse than an error, and what is accepted is in bounds") {
  std::mt19937_64 random(11);
  constexpr std::string_view kAlphabet = "0123456789-.kMGiEe";
  const auto quantity = [&] {
    std::string text(1 + random() % 6, '0');
    for (auto& c : text) c = kAlphabet[random() % (random() % 2 ? 10 : kAlphabet.size())];
    return text;
  };
  for (int i = 0; i < 20'000; ++i) {
    Quantities limits;
    for (const auto& name : kVendors.Find("nvidia")->Resources()) {
      if (random() % 2) limits[name] = quantity();
    }
    const auto request = kVendors.Parse(Pod().Container("main", limits), {});
    if (!request || !request->wants_devices()) continue;
    const auto& devices = request->containers[0].devices[0];
    REQUIRE((devices.count >= 1 && devices.count <= 1024 && devices.mib >= 0));
    REQUIRE((devices.percent >= 1 && devices.percent <= 100 && devices.cores >= 0 && devices.cores <= 100));
  }
}

}  // namespace
}  // namespace partage::vendors
