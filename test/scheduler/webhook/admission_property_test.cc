// SPDX-License-Identifier: Apache-2.0
// Random pods: whatever is allowed asks for the same after the patch as before, and is not patched again.
#include <random>

#include "k8s/api/decode.h"
#include "scheduler/state/feed.h"
#include "test/scheduler/webhook/desk.h"

namespace partage::scheduler {
namespace {

using test::Desk;
using test::Json;

class RandomPod {
 public:
  explicit RandomPod(unsigned seed) : random_(seed) {}

  Json Make() {
    Json pod = {{"metadata", {{"name", "p"}}}, {"spec", {{"containers", Json::array()}}}};
    if (Chance(3)) pod["spec"]["schedulerName"] = Any({"default-scheduler", "partage", "other"});
    if (Chance(3)) pod["metadata"]["annotations"]["nvidia.com/numa-bind"] = Any({"true", "false", "yes"});
    for (const char* list : {"containers", "initContainers"}) {
      for (auto count = random_() % 3; count > 0; --count) pod["spec"][list].push_back(Container());
    }
    return pod;
  }

 private:
  bool Chance(unsigned of) { return random_() % of == 0; }
  std::string Any(std::vector<std::string> texts) { return texts[random_() % texts.size()]; }

  Json Container() {
    Json container = {{"name", "c" + std::to_string(random_() % 1000)}};
    if (Chance(5)) container["restartPolicy"] = "Always";
    if (Chance(6)) return container;
    container["resources"] = Json::object();
    for (const char* list : {"limits", "requests"}) {
      if (!Chance(3)) container["resources"][list] = Quantities();
    }
    return container;
  }

  Json Quantities() {
    Json quantities = Json::object();
    for (const char* name : {"gpu", "gpumem", "gpumem-percentage", "gpucores", "priority"}) {
      if (Chance(3))
        quantities["nvidia.com/" + std::string(name)] = Any({"0", "1", "2", "3k", "50", "100", "150", "16Gi", "0.5", "-1", "x"});
    }
    if (Chance(2)) quantities["cpu"] = "1";
    return quantities;
  }

  std::mt19937 random_;
};

device::PodRequest RequestOf(const Json& pod, const vendors::Catalog& vendors) {
  const auto decoded = k8s::DecodePodText(pod.dump());
  REQUIRE(decoded.has_value());
  auto request = vendors.Parse(ToParserInput(*decoded), RegisteredPolicyNames());
  REQUIRE(request.has_value());
  request->warnings.clear();
  return *std::move(request);
}

TEST_CASE("A patched pod asks for what it asked for, says all of it among its limits, and is not patched again") {
  Desk desk("partage");
  desk.With(test::Node("n").Gpus(2, 16000));
  RandomPod random(1);
  int refused = 0, patched = 0;
  for (int i = 0; i < 1500; ++i) {
    const auto pod = random.Make();
    INFO(pod.dump());
    if (desk.Judge(pod)["allowed"] == false) {
      ++refused;
      CHECK_FALSE(desk.Refusal(pod).empty());
      continue;
    }
    const auto created = desk.Created(pod);
    if (created == pod) continue;
    ++patched;
    CHECK(RequestOf(created, desk.catalog()) == RequestOf(pod, desk.catalog()));
    CHECK(desk.Created(created) == created);
    CHECK(created["spec"]["schedulerName"] == "partage");
  }
  CHECK(refused > 100);
  CHECK(patched > 100);
}

TEST_CASE("Configured defaults are written out, and do not change what the pod asks for") {
  auto vendor = *vendors::Catalog::Embedded().Find("nvidia");
  vendor.default_mib = 6000;
  vendor.default_cores = 20;
  vendor.memory_factor = 1000;
  auto vendors = vendors::Catalog::Embedded();
  REQUIRE(vendors.Replace(vendor).has_value());
  Desk desk("", vendors);
  const auto pod = test::PodJson({{"nvidia.com/gpucores", "10"}});
  const auto created = desk.Created(pod);
  CHECK(created["spec"]["containers"][0]["resources"]["limits"] ==
        Json({{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", "6"}, {"nvidia.com/gpucores", "10"}}));
  const auto half = desk.Created(test::PodJson({{"nvidia.com/gpumem-percentage", "50"}}));
  CHECK(half["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpucores"] == "20");
  CHECK_FALSE(half["spec"]["containers"][0]["resources"]["limits"].contains("nvidia.com/gpumem"));
}

}  // namespace
}  // namespace partage::scheduler
