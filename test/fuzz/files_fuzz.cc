// SPDX-License-Identifier: Apache-2.0
// What people write: configuration, kubeconfig, vendor definitions, simulated clusters, manifests; and what partagectl reads.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/check.h"
#include "cli/manifest.h"
#include "cli/state_view.h"
#include "k8s/api/decode.h"
#include "k8s/client/config.h"
#include "main/config_file.h"
#include "sim/sim_spec.h"
#include "test/fuzz/fuzz.h"
#include "vendors/vendor.h"

namespace partage::fuzz {
namespace {

const Registered kConfig("config", [](std::string_view input) {
  static const app::SchedulerConfig defaults;
  app::SchedulerConfig config = defaults;
  config.log_level = "debug";
  if (app::ApplyConfigText(input, "f.yaml", config)) return;
  PARTAGE_CHECK(config.log_level == "debug", "a refused file changes nothing");
});

// A file in memory.
const Registered kKubeconfig("kubeconfig", [](std::string_view input) {
  static const int file = ::memfd_create("kubeconfig", 0);
  PARTAGE_CHECK(::ftruncate(file, 0) == 0 && ::pwrite(file, input.data(), input.size(), 0) == static_cast<ssize_t>(input.size()),
                "memory for a file");
  const auto config = k8s::LoadKubeconfig("/proc/self/fd/" + std::to_string(file));
  PARTAGE_CHECK(!config || !config->server.empty(), "a configuration names a server");
});

const Registered kVendor("vendor", [](std::string_view input) {
  const auto catalog = vendors::Catalog::FromYaml({std::string(input)});
  if (!catalog) return;
  for (const auto& vendor : catalog->vendors()) {
    PARTAGE_CHECK(!vendor.name.empty() && !vendor.count_resource.empty(), "a vendor has a name and a resource");
  }
});

// Whoever writes "count: 99999" gets so many nodes. Three digits do for finding faults.
bool AsksForMany(std::string_view input) {
  const auto count = input.find("count");
  if (count == input.npos) return false;
  int digits = 0;
  return std::any_of(input.begin(), input.end(), [&](char c) { return (digits = c >= '0' && c <= '9' ? digits + 1 : 0) > 3; });
}

const Registered kSimSpec("cluster", [](std::string_view input) {
  if (!AsksForMany(input)) (void)sim::ParseSimSpec(input, "cluster.yaml");
});

const Registered kManifest("manifest", [](std::string_view input) {
  const auto pods = cli::ParseManifests(input, "pods.yaml", 2);
  if (!pods) return;
  PARTAGE_CHECK(pods->size() % 2 == 0, "each pod is made twice");
  for (const auto& made : *pods) {
    PARTAGE_CHECK(!made.uid.empty() && !made.ns.empty(), "a pod has a UID and a namespace");
    const auto pod = k8s::DecodePodText(made.json);
    if (pod) PARTAGE_CHECK(pod->uid == made.uid && pod->name == made.name && pod->ns == made.ns, "and is read as the pod it is");
  }
});

const Registered kState("state", [](std::string_view input) { (void)cli::ParseState(input); });

}  // namespace
}  // namespace partage::fuzz
