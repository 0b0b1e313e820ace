// SPDX-License-Identifier: Apache-2.0

#include "metrics/collectors/collector.h"

#include <catch2/catch.hpp>

#include "test/metrics/sample.h"
#include "test/support/golden.h"

namespace partage::test {
namespace {

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Without what differs from build to build and from moment to moment.
std::string Stable(const std::string& text) {
  std::string stable;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin) + 1;
    const auto line = text.substr(begin, end - begin);
    if (!Has(line, "process_") && !Has(line, "_build_info")) stable += line;
    begin = end;
  }
  return stable;
}

TEST_CASE("The exposition of a small cluster") {
  const SampleMetrics sample;
  CheckGolden(PARTAGE_SOURCE_DIR "/test/metrics/golden/exposition.txt", Stable(sample.registry.Expose()));
}

TEST_CASE("An empty cluster exposes zeros, not nothing") {
  const ManualClock clock;
  const scheduler::Cluster cluster(clock);
  metrics::Registry registry;
  metrics::AddCollectors(registry, cluster, {});
  const auto text = registry.Expose();
  CHECK(Has(text, "\npartage_nodes 0\n"));
  CHECK(Has(text, "\npartage_cluster_memory_capacity_bytes 0\n"));
  CHECK(Has(text, "\npartage_pods{state=\"bound\"} 0\n"));
  CHECK_FALSE(Has(text, "partage_waiting_pods"));
}

TEST_CASE("A cluster past the device limit is exposed in sums only, and says so") {
  const SampleMetrics at({.device_limit = 6}), past({.device_limit = 5});
  CHECK(Has(at.registry.Expose(), "\npartage_device_series_enabled 1\n"));
  CHECK(Has(at.registry.Expose(), "partage_node_schedulable{node=\"n3\"} 0"));
  const auto text = past.registry.Expose();
  CHECK(Has(text, "\npartage_device_series_enabled 0\n"));
  CHECK(Has(text, "\npartage_devices 6\n"));
  CHECK_FALSE(Has(text, "node=\""));
  CHECK_FALSE(Has(text, "hami_gpu"));
}

TEST_CASE("Every scrape sees the state of its moment") {
  SampleMetrics sample;
  CHECK(Has(sample.registry.Expose(), "\npartage_pods{state=\"bound\"} 4\n"));
  sample.cluster.ForgetPod(Ref("pod-a"));
  sample.cluster.Publish();
  CHECK(Has(sample.registry.Expose(), "\npartage_pods{state=\"bound\"} 3\n"));
}

TEST_CASE("The number of HAMi's shares on a device is the count of a summary, their memory its sum") {
  const SampleMetrics sample;
  const std::string labels = R"({zone="vGPU",node="n1",device_uuid="n1-gpu0",device_index="0",device_type="NVIDIA A100-SXM4-80GB"})";
  const auto text = sample.registry.Expose();
  CHECK(Has(text, "\nhami_gpu_shared_count" + labels + " 2\n"));
  CHECK(Has(text, "\nhami_gpu_shared_sum" + labels + " " + std::to_string(std::int64_t{9216} << 20) + "\n"));
}

TEST_CASE("Pod series, when switched on, say what each pod was given of each device") {
  const SampleMetrics sample({.pod_series = true});
  const std::string labels = R"({zone="vGPU",namespace="default",node="n1",pod="pod-a",container_index="0",device_uuid="n1-gpu0"})";
  const auto text = sample.registry.Expose();
  CHECK(Has(text, "\nhami_vgpu_memory_allocated_bytes" + labels + " " + std::to_string(std::int64_t{8192} << 20) + "\n"));
  CHECK(Has(text, "\nhami_vgpu_core_allocated_ratio" + labels + " 30\n"));
}

TEST_CASE("A nominal share is counted as given") {
  SampleMetrics sample;
  const auto place = [](const scheduler::Block&, std::uint32_t) -> Result<device::Allocation> {
    return ShareOf("n1", "n1-gpu0", 1024, 10);
  };
  REQUIRE(sample.cluster.Nominate(Ref("next"), "n1", std::chrono::seconds(15), place));
  const auto text = sample.registry.Expose();
  CHECK(Has(text, "\npartage_pods{state=\"nominal\"} 1\n"));
  CHECK(Has(text, "\npartage_device_slots_allocated{node=\"n1\",device_uuid=\"n1-gpu0\"} 3\n"));
}

}  // namespace
}  // namespace partage::test
