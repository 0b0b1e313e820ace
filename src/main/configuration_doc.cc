// SPDX-License-Identifier: Apache-2.0
#include "main/configuration_doc.h"

#include <fmt/format.h>

#include "main/scheduler_config.h"

namespace partage::app {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration of partage-scheduler

<!-- Generated from src/main/scheduler_config.cc; do not edit. -->

Settings come from a YAML file (`--config FILE`) and from flags; a flag wins. Every setting has a default that works beside a kube-scheduler.
A key, a value or a combination that cannot be meant is an error that names file, line, key and the way out; nothing is guessed.
`partage-scheduler --check-config --config FILE` says whether a file would work.

## Which cluster

Exactly one of these flags:

| flag | meaning |
|---|---|
| `--kubeconfig FILE` | the cluster of the file's current context |
| `--in-cluster` | the cluster this pod runs in, with its service account |
| `--cluster sim:FILE` | a simulated cluster; no Kubernetes needed. Example: [demo-cluster.yaml](examples/demo-cluster.yaml) |

An address that other machines reach needs TLS: `listen` with `tlsClientCaFile`, for whoever reaches the extender can bind pods, and `webhookListen` with a certificate.
`--insecure-listen-beyond-loopback` does without.
`--list-policies`, `--version` and `--help` print and end.

## Settings
)";

constexpr std::string_view kVendorIntroduction = R"(
## Resource names and defaults of a vendor

A section with the vendor's name (`nvidia`), its keys as in HAMi's device configuration, so that HAMi's file can be given as it is. An empty
resource name (`""`) means that there is no such resource.

| key | value | default for nvidia | meaning |
|---|---|---|---|
)";

constexpr std::string_view kIgnoredIntroduction = R"(
Understood and without effect in the scheduler, said once in the log at start: in a vendor's section )";

std::string Code(std::string_view text) { return fmt::format("`{}`", text); }

std::string Names(const std::vector<IgnoredKey>& keys) {
  std::string names;
  for (const IgnoredKey& entry : keys) names += (names.empty() ? "" : ", ") + Code(entry.key);
  return names;
}

}  // namespace

std::string ConfigurationDoc() {
  std::string doc(kIntroduction);
  doc += "\n| key | flag | value | default | meaning |\n|---|---|---|---|---|\n";
  for (const auto& setting : SchedulerSettings()) {
    const std::string flag = setting.flag.empty() ? "" : Code(setting.flag);
    const std::string value = setting.get(SchedulerConfig());
    doc += fmt::format("| `{}` | {} | {} | `{}` | {} |\n", setting.key, flag, setting.type, value.empty() ? "\"\"" : value, setting.help);
  }
  doc += kVendorIntroduction;
  const vendors::Catalog catalog = vendors::Catalog::Embedded();
  const vendors::Vendor vendor = *catalog.Find("nvidia");
  for (const auto& setting : VendorSettings()) {
    doc += fmt::format("| `{}` | {} | `{}` | {} |\n", setting.key, setting.type, setting.get(vendor), setting.help);
  }
  return doc + fmt::format("{}{}; the sections {}.\n", kIgnoredIntroduction, Names(IgnoredVendorKeys()), Names(IgnoredSections()));
}

}  // namespace partage::app
