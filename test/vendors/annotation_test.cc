// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "test/vendors/pod_inputs.h"

namespace partage::vendors {
namespace {

using device::Mode;
using test::GpuPod;
using test::Pod;

const Catalog kVendors = Catalog::Embedded();
const PolicyNames kPolicies{.node = {"binpack", "spread"}, .device = {"binpack", "mutex", "numa", "spread"}};

device::PodRequest Parse(const PodInput& pod) {
  const auto request = kVendors.Parse(pod, kPolicies);
  INFO((request ? "" : request.error().message));
  REQUIRE(request.has_value());
  return *request;
}

std::string Refusal(std::string key, std::string value) {
  const auto request = kVendors.Parse(GpuPod().Annotation(std::move(key), std::move(value)), kPolicies);
  REQUIRE_FALSE(request.has_value());
  CHECK(request.error().code == Code::kInvalid);
  return request.error().message;
}

TEST_CASE("Lists of cards and models are trimmed, under the vendor's and under our prefix") {
  const auto constraints = Parse(GpuPod()
                                     .Annotation("nvidia.com/use-gpuuuid", " GPU-a ,,GPU-b")
                                     .Annotation("partage.dev/nouse-gpuuuid", "GPU-c")
                                     .Annotation("nvidia.com/use-gputype", "A100, L40S")
                                     .Annotation("partage.dev/nouse-gputype", "T4"))
                               .constraints;
  CHECK(constraints.use_uuids == std::vector<std::string>{"GPU-a", "GPU-b"});
  CHECK(constraints.nouse_uuids == std::vector<std::string>{"GPU-c"});
  CHECK(constraints.use_models == std::vector<std::string>{"A100", "L40S"});
  CHECK(constraints.nouse_models == std::vector<std::string>{"T4"});
}

TEST_CASE("Without annotations everything is accepted and nothing is chosen") {
  const auto request = Parse(GpuPod());
  CHECK(request.constraints == device::DeviceConstraints{});
  CHECK(request.weights == device::ScoringWeights{});
  CHECK_FALSE(request.node_policy.has_value());
  CHECK(request.device_policies.empty());
}

TEST_CASE("A blank annotation is one that was not given") {
  const auto request = Parse(GpuPod()
                                 .Annotation("nvidia.com/use-gputype", "  ")
                                 .Annotation("nvidia.com/numa-bind", "")
                                 .Annotation("nvidia.com/vgpu-mode", "")
                                 .Annotation("hami.io/node-scheduler-policy", "")
                                 .Annotation("hami.io/gpu-scheduler-policy", " ")
                                 .Annotation("hami.io/device-scoring-weights", ""));
  CHECK(request == Parse(GpuPod()));
}

TEST_CASE("numa-bind takes Go's spellings of a boolean and nothing else") {
  for (const auto* yes : {"1", "t", "T", "TRUE", "true", "True"})
    CHECK(Parse(GpuPod().Annotation("nvidia.com/numa-bind", yes)).constraints.numa_bind);
  for (const auto* no : {"0", "f", "F", "FALSE", "false", "False"})
    CHECK_FALSE(Parse(GpuPod().Annotation("partage.dev/numa-bind", no)).constraints.numa_bind);
  CHECK(Refusal("nvidia.com/numa-bind", "yes") == "annotation nvidia.com/numa-bind \"yes\" is neither true nor false");
}

TEST_CASE("vgpu-mode is a list of known modes") {
  CHECK(Parse(GpuPod().Annotation("nvidia.com/vgpu-mode", "hami-core,mig,shared")).constraints.modes ==
        std::vector<Mode>{Mode::kShared, Mode::kMig});
  CHECK(Parse(GpuPod().Annotation("partage.dev/vgpu-mode", "mps")).constraints.modes == std::vector<Mode>{Mode::kMps});
  CHECK(Refusal("nvidia.com/vgpu-mode", "hami") ==
        "annotation nvidia.com/vgpu-mode: the mode \"hami\" is unknown; use hami-core (shared), exclusive, mig or mps");
}

TEST_CASE("Policies are taken when they are registered, and refused with the known ones") {
  CHECK(Parse(GpuPod().Annotation("hami.io/node-scheduler-policy", "spread")).node_policy == "spread");
  CHECK(Parse(GpuPod().Annotation("partage.dev/gpu-scheduler-policy", "mutex, numa,,mutex,spread")).device_policies ==
        std::vector<std::string>{"mutex", "numa", "spread"});
  CHECK(Refusal("hami.io/node-scheduler-policy", "numa") ==
        "annotation hami.io/node-scheduler-policy: \"numa\" is no node policy; use binpack, spread");
  CHECK(Refusal("hami.io/gpu-scheduler-policy", "numa,random") ==
        "annotation hami.io/gpu-scheduler-policy: \"random\" is no device policy; use binpack, mutex, numa, spread");
}

TEST_CASE("Two spellings of one annotation must agree") {
  const auto pod = GpuPod().Annotation("nvidia.com/use-gputype", "A100").Annotation("partage.dev/use-gputype", "T4");
  CHECK(kVendors.Parse(pod, kPolicies).error().message ==
        "annotations nvidia.com/use-gputype \"A100\" and partage.dev/use-gputype \"T4\" contradict each other; keep one");
  CHECK(Parse(GpuPod().Annotation("hami.io/node-scheduler-policy", "spread ").Annotation("partage.dev/node-scheduler-policy", "spread"))
            .node_policy == "spread");
}

TEST_CASE("Scoring weights are three numbers in any order") {
  const auto weights = Parse(GpuPod().Annotation("hami.io/device-scoring-weights", "memory=3, slot=0 ,core=1")).weights;
  CHECK(weights == device::ScoringWeights{.slot = 0, .core = 1, .memory = 3});
  for (const auto* bad : {"slot=1", "slot=1,core=1", "slot=1,core=1,memory=1,extra=1", "slot=0,core=0,memory=0", "slot=-1,core=1,memory=1",
                          "slot=1,slot=1,core=1,memory=1", "slot=1.5,core=1,memory=1", "slot=1,core=1,memory=99999999999",
                          "slot,core,memory", "1,1,1", "slot=1,core=1,memory=1,"}) {
    INFO(bad);
    CHECK(Refusal("hami.io/device-scoring-weights", bad) ==
          fmt::format("annotation hami.io/device-scoring-weights \"{}\" is not like \"slot=1,core=1,memory=3\": these three, each from 0 "
                      "to 1000000, not all 0",
                      bad));
  }
}

TEST_CASE("Annotations of a vendor that the pod does not ask are left alone") {
  auto documents = EmbeddedDocuments();
  documents.push_back("name: acme\nword: ACME\nresources: {count: acme.io/gpu}\nannotationPrefix: acme.io/");
  const auto catalog = *Catalog::FromYaml(documents);
  const auto pod =
      Pod().Container("main", {{"acme.io/gpu", "1"}}).Annotation("nvidia.com/use-gputype", "A100").Annotation("acme.io/numa-bind", "true");
  const auto request = catalog.Parse(pod, kPolicies);
  REQUIRE(request.has_value());
  CHECK(request->constraints.use_models.empty());
  CHECK(request->constraints.numa_bind);
}

}  // namespace
}  // namespace partage::vendors
