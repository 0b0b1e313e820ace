// SPDX-License-Identifier: Apache-2.0
#include "main/config_file.h"

#include <algorithm>

#include <catch2/catch.hpp>

namespace partage::app {
namespace {

SchedulerConfig Read(std::string_view yaml) {
  SchedulerConfig config;
  const auto ignored = ApplyConfigText(yaml, "f.yaml", config);
  INFO((ignored ? "" : ignored.error().message));
  REQUIRE(ignored.has_value());
  return config;
}

/// The message of a refused text; also checks that nothing of it took effect.
std::string Complaint(std::string_view yaml) {
  SchedulerConfig config;
  config.log_level = "debug";
  const auto done = ApplyConfigText(yaml, "f.yaml", config);
  REQUIRE_FALSE(done.has_value());
  CHECK(done.error().code == Code::kInvalid);
  CHECK(config.log_level == "debug");
  CHECK(config.listen.port == SchedulerConfig().listen.port);
  return done.error().message;
}

std::string ValueOf(const SchedulerConfig& config, std::string_view key) { return FindSetting(SchedulerSettings(), key)->get(config); }

TEST_CASE("Every setting can be read from a file") {
  const std::vector<std::pair<std::string, std::string>> values = {{"listen", "127.0.0.2:1234"},
                                                                   {"metricsListen", "0.0.0.0:9395"},
                                                                   {"nodePolicy", "spread"},
                                                                   {"devicePolicies", "binpack,numa"},
                                                                   {"shortlist", "16"},
                                                                   {"nominalTtl", "20s"},
                                                                   {"bindWorkers", "8"},
                                                                   {"bindQueue", "100"},
                                                                   {"bindDeadline", "4s"},
                                                                   {"requeueInterval", "250ms"},
                                                                   {"preemption", "false"},
                                                                   {"preemptionInterval", "1s"},
                                                                   {"preemptionHold", "30s"},
                                                                   {"httpThreads", "4"},
                                                                   {"maxBodyMiB", "8"},
                                                                   {"metricsDeviceLimit", "100"},
                                                                   {"metricsPodSeries", "true"},
                                                                   {"logLevel", "warn"},
                                                                   {"logFormat", "json"},
                                                                   {"tlsCertFile", "/e/tls.crt"},
                                                                   {"tlsKeyFile", "/e/tls.key"},
                                                                   {"tlsClientCaFile", "/e/ca"},
                                                                   {"webhookListen", "0.0.0.0:9443"},
                                                                   {"webhookTlsCertFile", "/w/c"},
                                                                   {"webhookTlsKeyFile", "/w/k"},
                                                                   {"webhookTlsClientCaFile", "/w/ca"},
                                                                   {"webhookSchedulerName", "gpu"},
                                                                   {"leaderElection", "elect"},
                                                                   {"lease", "a/b"},
                                                                   {"kubeSchedulerLease", "c/d"},
                                                                   {"kubeSchedulerHost", "h"},
                                                                   {"leaseDuration", "30s"},
                                                                   {"renewDeadline", "20s"},
                                                                   {"retryPeriod", "3s"}};
  CHECK(values.size() == SchedulerSettings().size());
  std::string yaml;
  for (const auto& [key, value] : values) yaml += key + ": " + value + "\n";
  const SchedulerConfig config = Read(yaml);
  for (const auto& [key, value] : values) CHECK(ValueOf(config, key) == value);
}

TEST_CASE("What every setting prints as its default can be read back") {
  std::string yaml;
  for (const auto& setting : SchedulerSettings()) yaml += fmt::format("{}: \"{}\"\n", setting.key, setting.get(SchedulerConfig()));
  const SchedulerConfig config = Read(yaml);
  for (const auto& setting : SchedulerSettings()) CHECK(setting.get(config) == setting.get(SchedulerConfig()));
}

TEST_CASE("A list may be written as a YAML list") {
  CHECK(Read("devicePolicies: [binpack, numa]").engine.device_policies == std::vector<std::string>{"binpack", "numa"});
}

TEST_CASE("An empty file changes nothing") {
  CHECK(ValueOf(Read(""), "listen") == "127.0.0.1:8780");
  CHECK(ValueOf(Read("# nothing\n"), "nodePolicy") == "binpack");
}

TEST_CASE("An unknown key is refused with its line and the nearest known one") {
  CHECK(Complaint("logLevel: warn\nnodePolcy: spread\n") == "f.yaml:2: nodePolcy: is not a known setting; did you mean nodePolicy?");
  CHECK(Complaint("replicaCount: 3\n") == "f.yaml:1: replicaCount: is not a known setting");
}

TEST_CASE("A wrong value is refused with its line, its key and the way out") {
  CHECK(Complaint("\nbindWorkers: many\n") == "f.yaml:2: bindWorkers: \"many\" is not a whole number");
  CHECK(Complaint("nominalTtl: 15\n") == "f.yaml:1: nominalTtl: \"15\" is not a time; write it with its unit, like 15s, 400ms or 2m");
  CHECK(Complaint("listen: {host: a}\n") == "f.yaml:1: listen: is a section; a single value belongs here");
  CHECK(Complaint("listen:\n") == "f.yaml:1: listen: has no value; give one or remove the line");
  CHECK(Complaint("devicePolicies: [[a]]\n") == "f.yaml:1: devicePolicies: holds a list inside a list; single values belong here");
}

TEST_CASE("An unknown policy is refused with the list of policies") {
  const std::string message = Complaint("nodePolicy: binpak\n");
  CHECK(message.find("\"binpak\" is no node policy; there are ") != std::string::npos);
  CHECK(message.find("did you mean binpack?") != std::string::npos);
  CHECK(Complaint("nodePolicy: numa\n").find("\"numa\" is no node policy") != std::string::npos);
}

TEST_CASE("A repeated key is refused") {
  CHECK(Complaint("logLevel: warn\nlogLevel: info\n") == "f.yaml:2: logLevel: is given twice; remove one");
}

TEST_CASE("Text that is not YAML or not a map is refused with its line") {
  CHECK(Complaint("a: [1\nb: }\n").find("f.yaml:") == 0);
  CHECK(Complaint("- a\n- b\n") == "f.yaml:1: is not a map of settings (key: value)");
  CHECK(Complaint("? [a, b]\n: 1\n") == "f.yaml:1: a key is not a word");
}

TEST_CASE("A missing file is named") {
  SchedulerConfig config;
  const auto done = ApplyConfigFile("/nonexistent/config.yaml", config);
  REQUIRE_FALSE(done.has_value());
  CHECK(done.error().message.find("/nonexistent/config.yaml") == 0);
}

// HAMi's own file, as its chart renders it: names and defaults take effect, the rest is named and left alone.
constexpr std::string_view kHamiFile = R"(nvidia:
  resourceCountName: example.com/gpu
  resourceMemoryName: example.com/gpumem
  resourceMemoryPercentageName: example.com/gpumem-percentage
  resourceCoreName: example.com/gpucores
  resourcePriorityName: example.com/priority
  overwriteEnv: false
  defaultMemory: 4096
  defaultCores: 25
  defaultGPUNum: 2
  memoryFactor: 10
  deviceSplitCount: 10
  deviceMemoryScaling: 1
  deviceCoreScaling: 1
  gpuCorePolicy: "default"
  libCudaLogLevel: 1
  runtimeClassName: ""
  knownMigGeometries:
  - models: ["A30"]
    allowedGeometries:
    - - {name: 1g.6gb, core: 25, memory: 6144, count: 4}
cambricon:
  resourceCountName: cambricon.com/vmlu
vnpus:
- chipName: 910A
)";

TEST_CASE("HAMi's device configuration is understood") {
  const SchedulerConfig config = Read(kHamiFile);
  const vendors::Vendor& vendor = *config.vendors.Find("nvidia");
  CHECK(vendor.count_resource == "example.com/gpu");
  CHECK(vendor.memory_resource == "example.com/gpumem");
  CHECK(vendor.percent_resource == "example.com/gpumem-percentage");
  CHECK(vendor.cores_resource == "example.com/gpucores");
  CHECK(vendor.priority_resource == "example.com/priority");
  CHECK(vendor.default_mib == 4096);
  CHECK(vendor.default_cores == 25);
  CHECK(vendor.default_count == 2);
  CHECK(vendor.memory_factor == 10);
}

TEST_CASE("What HAMi's file says without effect here is named") {
  SchedulerConfig config;
  const auto ignored = ApplyConfigText(kHamiFile, "f.yaml", config);
  REQUIRE(ignored.has_value());
  CHECK(ignored->size() == 10);
  const auto names = [&](const char* line) { return std::count(ignored->begin(), ignored->end(), line); };
  CHECK(names("nvidia.overwriteEnv (admission's)") == 1);
  CHECK(names("nvidia.deviceSplitCount (the node agent's)") == 1);
  CHECK(names("cambricon (vendor not served yet)") == 1);
  CHECK(names("vnpus (vendor not served yet)") == 1);
}

TEST_CASE("A wrong member of a vendor's section is refused") {
  CHECK(Complaint("nvidia:\n  defaultMem: 1\n") == "f.yaml:2: nvidia.defaultMem: is not a known setting; did you mean defaultMemory?");
  CHECK(Complaint("nvidia:\n  defaultCores: 200\n") == "f.yaml:2: nvidia.defaultCores: 200 is out of range; use 0 to 100");
  CHECK(Complaint("nvidia: yes\n") == "f.yaml:1: nvidia: is not a section of settings");
}

TEST_CASE("A vendor may go without a resource, but not without the one that counts") {
  CHECK(Read("nvidia:\n  resourceMemoryName: \"\"\n").vendors.Find("nvidia")->memory_resource == "");
  CHECK(Complaint("nvidia:\n  resourceCountName: \"\"\n").find("f.yaml:1: ") == 0);
}

TEST_CASE("A resource name that Kubernetes would refuse is refused with the section's line") {
  CHECK(Complaint("logLevel: info\nnvidia:\n  resourceCountName: not a name\n").find("f.yaml:2: ") == 0);
}

}  // namespace
}  // namespace partage::app
