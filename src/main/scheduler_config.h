// SPDX-License-Identifier: Apache-2.0
// Everything partage-scheduler can be told, as a plain struct, and the one table of its settings. Reference for people: docs/configuration.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/server.h"
#include "k8s/leases/elector.h"
#include "main/setting.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/binder.h"
#include "scheduler/webhook/admission.h"
#include "vendors/vendor.h"

namespace partage::app {

/// Where nodes and pods come from.
struct ClusterSourceConfig {
  enum class Kind : std::uint8_t { kNone, kKubeconfig, kInCluster, kSimulated };
  Kind kind = Kind::kNone;
  std::string file;                                  ///< the kubeconfig, or the simulated cluster's description
  std::chrono::milliseconds request_timeout{10000};  ///< of requests to an API server, watches excepted
};

/// Which of several replicas writes. Leases are named NAMESPACE/NAME.
struct LeaderElectionConfig {
  /// "none": this replica is alone; "follow": the one beside the kube-scheduler that leads; "elect": one of those behind a Service.
  std::string shape = "none";
  std::string lease = "kube-system/partage-scheduler";
  std::string kube_scheduler_lease = "kube-system/kube-scheduler";
  std::string kube_scheduler_host = "auto";  ///< host name of the kube-scheduler beside us; "auto": ours
  k8s::LeaseTimings timings;

  bool on() const { return shape != "none"; }
};

/// Files of a listener's TLS, PEM; read again when they change.
struct TlsFilesConfig {
  std::string certificate, key;    ///< both or neither; neither: plain HTTP
  std::string client_ca;           ///< not empty: clients must show a certificate that one of these signed
  std::vector<std::string> names;  ///< not empty: `certificate` and `key` are an authority's, which issues certificates for these names

  bool on() const { return !certificate.empty(); }
};

struct SchedulerConfig {
  ClusterSourceConfig source;
  LeaderElectionConfig leader_election;
  http::Endpoint listen{"127.0.0.1", 8780};          ///< the extender
  http::Endpoint metrics_listen{"127.0.0.1", 8781};  ///< /metrics, /healthz, /readyz, /debug/state
  bool listen_beyond_loopback = false;               ///< whoever reaches the extender can bind pods
  TlsFilesConfig tls;                                ///< of the extender
  std::optional<http::Endpoint> webhook_listen;      ///< admission webhook; absent: none
  TlsFilesConfig webhook_tls;
  scheduler::AdmissionOptions admission;
  int http_threads = 2;  ///< of each listener
  std::int64_t max_body_mib = 64;
  scheduler::EngineOptions engine;
  scheduler::BinderOptions binder;
  std::chrono::milliseconds requeue_interval{400};
  std::int64_t metrics_device_limit = 5000;  ///< more devices than this: no series per device
  bool metrics_pod_series = false;           ///< series that carry pod names
  std::string log_level = "info", log_format = "text";
  vendors::Catalog vendors = vendors::Catalog::Embedded();
};

/// The settings a file and the command line can change, in the order of the documentation.
const std::vector<Setting<SchedulerConfig>>& SchedulerSettings();

/// The settings of one vendor's section of the file, by HAMi's names.
const std::vector<Setting<vendors::Vendor>>& VendorSettings();

/// Something HAMi's device configuration may hold and the scheduler has no use for.
struct IgnoredKey {
  std::string_view key;
  std::string_view why;
};
const std::vector<IgnoredKey>& IgnoredVendorKeys();  ///< inside a vendor's section
const std::vector<IgnoredKey>&
IgnoredSections();  ///< sections of vendors not served yet; one leaves the list when its definition file arrives

/// What no single setting can judge: an address other machines reach has TLS (the extender: client certificates too) unless it was said not
/// to, and the times of the lease leave room. kInvalid names the
/// flag or key.
Result<> Validate(const SchedulerConfig& config);

}  // namespace partage::app
