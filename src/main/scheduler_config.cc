// SPDX-License-Identifier: Apache-2.0
#include "main/scheduler_config.h"

#include <algorithm>
#include <limits>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "base/text.h"
#include "main/nearest.h"
#include "scheduler/framework/policy.h"

namespace partage::app {
namespace {

using scheduler::PolicyRegistry;
using scheduler::PolicySpec;
using scheduler::Shortlist;
using vendors::Vendor;

constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();

/// The registered policies of one kind.
std::vector<std::string_view> PolicyNames(bool PolicySpec::*kind) {
  std::vector<std::string_view> names;
  for (const auto& [name, spec] : PolicyRegistry::All()) {
    if (spec.*kind) names.push_back(name);
  }
  return names;
}

Result<std::string> ParsePolicy(std::string_view text, bool PolicySpec::*kind, std::string_view what) {
  const PolicySpec* spec = PolicyRegistry::Find(text);
  if (spec != nullptr && spec->*kind) return std::string(text);
  const auto names = PolicyNames(kind);
  return Fail(Code::kInvalid, "{} is no {} policy; there are {}{}", Quoted(text), what, fmt::join(names, ", "), DidYouMean(text, names));
}

Form<std::string> NodePolicyForm() {
  return {"policy", [](std::string_view text) { return ParsePolicy(text, &PolicySpec::for_nodes, "node"); },
          [](const std::string& name) { return name; }};
}

Form<std::vector<std::string>> DevicePoliciesForm() {
  const auto parse = [](std::string_view text) -> Result<std::vector<std::string>> {
    std::vector<std::string> policies = SplitList(text);
    if (policies.empty()) return Fail(Code::kInvalid, "names no policy");
    for (const std::string& name : policies) {
      if (auto known = ParsePolicy(name, &PolicySpec::for_devices, "device"); !known) return Fail(known.error());
    }
    return policies;
  };
  return {"policies, comma-separated", parse,
          [](const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ",")); }};
}

Form<std::vector<std::string>> NamesForm() {
  return {"names, comma-separated", [](std::string_view text) -> Result<std::vector<std::string>> { return SplitList(text); },
          [](const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ",")); }};
}

Form<Shortlist> ShortlistForm() {
  const auto print = [](const Shortlist& list) { return list.automatic ? std::string("auto") : std::to_string(list.k); };
  return {"auto or number", &Shortlist::Parse, print};
}

Form<std::optional<http::Endpoint>> OptionalEndpointForm() {
  const auto endpoint = EndpointForm();
  const auto parse = [endpoint](std::string_view text) -> Result<std::optional<http::Endpoint>> {
    if (text.empty()) return std::nullopt;
    auto parsed = endpoint.parse(text);
    if (!parsed) return Fail(parsed.error());
    return *std::move(parsed);
  };
  return {endpoint.type, parse, [endpoint](const auto& value) { return value ? endpoint.print(*value) : std::string(); }};
}

bool IsLeaseName(std::string_view text) {
  const auto parts = Split(text, '/');
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  return parts.size() == 2 &&
         std::all_of(parts.begin(), parts.end(), [&](auto part) { return !part.empty() && std::all_of(part.begin(), part.end(), plain); });
}

Form<std::string> LeaseNameForm() {
  const auto parse = [](std::string_view text) -> Result<std::string> {
    if (IsLeaseName(text)) return std::string(text);
    return Fail(Code::kInvalid, "{} is not of the form NAMESPACE/NAME, as kube-system/partage-scheduler", Quoted(text));
  };
  return {"NAMESPACE/NAME", parse, [](const std::string& name) { return name; }};
}

std::vector<Setting<SchedulerConfig>> MakeSchedulerSettings() {
  using C = SchedulerConfig;
  return {
      MakeSetting<C>(
          "listen", "--listen", EndpointForm(), "Where kube-scheduler reaches the extender; port 0 lets the system choose.",
          [](auto& c) -> auto& { return c.listen; }),
      MakeSetting<C>(
          "tlsCertFile", "--tls-cert-file", TextForm("file"),
          "The extender's certificate, with those that signed it behind it; it is read again when it changes. Empty: plain HTTP.",
          [](auto& c) -> auto& { return c.tls.certificate; }),
      MakeSetting<C>(
          "tlsKeyFile", "--tls-key-file", TextForm("file"), "The private key of that certificate.",
          [](auto& c) -> auto& { return c.tls.key; }),
      MakeSetting<C>(
          "tlsClientCaFile", "--tls-client-ca-file", TextForm("file"),
          "Only clients with a certificate that one of these authorities signed reach the extender.",
          [](auto& c) -> auto& { return c.tls.client_ca; }),
      MakeSetting<C>(
          "tlsNames", "--tls-names", NamesForm(),
          "Not empty: tlsCertFile and tlsKeyFile are an authority's, and the scheduler issues itself a certificate for these names, anew "
          "each twenty days.",
          [](auto& c) -> auto& { return c.tls.names; }),
      MakeSetting<C>(
          "webhookListen", "--webhook-listen", OptionalEndpointForm(),
          "Where the API server reaches the admission webhook; empty: there is none.", [](auto& c) -> auto& { return c.webhook_listen; }),
      MakeSetting<C>(
          "webhookTlsCertFile", "--webhook-tls-cert-file", TextForm("file"),
          "The webhook's certificate, for the name the API server calls it by; it is read again when it changes.",
          [](auto& c) -> auto& { return c.webhook_tls.certificate; }),
      MakeSetting<C>(
          "webhookTlsKeyFile", "--webhook-tls-key-file", TextForm("file"), "The private key of that certificate.",
          [](auto& c) -> auto& { return c.webhook_tls.key; }),
      MakeSetting<C>(
          "webhookTlsClientCaFile", "--webhook-tls-client-ca-file", TextForm("file"),
          "Only clients with a certificate that one of these authorities signed reach the webhook.",
          [](auto& c) -> auto& { return c.webhook_tls.client_ca; }),
      MakeSetting<C>(
          "webhookTlsNames", "--webhook-tls-names", NamesForm(), "The same for the webhook: the names by which the API server calls it.",
          [](auto& c) -> auto& { return c.webhook_tls.names; }),
      MakeSetting<C>(
          "webhookSchedulerName", "--webhook-scheduler-name", TextForm("scheduler name"),
          "Becomes spec.schedulerName of pods that ask for GPUs and name no scheduler of their own; empty leaves them as they are.",
          [](auto& c) -> auto& { return c.admission.scheduler_name; }),
      MakeSetting<C>(
          "metricsListen", "--metrics-listen", EndpointForm(),
          "Where /metrics, /healthz, /readyz, /debug/state and /debug/explain are served.",
          [](auto& c) -> auto& { return c.metrics_listen; }),
      MakeSetting<C>(
          "leaderElection", "--leader-election", WordForm({"none", "follow", "elect"}),
          "Which of several replicas binds: none (this one is alone), follow (the one beside the active kube-scheduler), elect (one behind "
          "a Service).",
          [](auto& c) -> auto& { return c.leader_election.shape; }),
      MakeSetting<C>(
          "lease", "--lease", LeaseNameForm(), "The replicas' own Lease; all of them name the same.",
          [](auto& c) -> auto& { return c.leader_election.lease; }),
      MakeSetting<C>(
          "kubeSchedulerLease", "--kube-scheduler-lease", LeaseNameForm(), "With follow: the Lease of the kube-schedulers.",
          [](auto& c) -> auto& { return c.leader_election.kube_scheduler_lease; }),
      MakeSetting<C>(
          "kubeSchedulerHost", "--kube-scheduler-host", TextForm("host name"),
          "With follow: the host name of the kube-scheduler beside this replica, with which its identity begins; auto is this replica's "
          "own.",
          [](auto& c) -> auto& { return c.leader_election.kube_scheduler_host; }),
      MakeSetting<C>(
          "leaseDuration", "--lease-duration", DurationForm(), "How long others wait after the last renewal they saw.",
          [](auto& c) -> auto& { return c.leader_election.timings.duration; }),
      MakeSetting<C>(
          "renewDeadline", "--renew-deadline", DurationForm(),
          "A replica that has not renewed its lease for this long writes nothing; the time from here to leaseDuration is for writes on "
          "their way.",
          [](auto& c) -> auto& { return c.leader_election.timings.renew_deadline; }),
      MakeSetting<C>(
          "retryPeriod", "--retry-period", DurationForm(), "Time between renewals; replicas on standby try after 1 to 2.2 of it.",
          [](auto& c) -> auto& { return c.leader_election.timings.retry_period; }),
      MakeSetting<C>(
          "nodePolicy", "--node-policy", NodePolicyForm(), "How nodes are ranked for pods that name no policy.",
          [](auto& c) -> auto& { return c.engine.node_policy; }),
      MakeSetting<C>(
          "devicePolicies", "--device-policies", DevicePoliciesForm(),
          "How the devices of a node are ranked for pods that name no policy; the first decides, later ones break ties.",
          [](auto& c) -> auto& { return c.engine.device_policies; }),
      MakeSetting<C>(
          "shortlist", "--shortlist", ShortlistForm(),
          "How many fitting nodes a filter call answers with: always this many, or (auto) one, and 64 for a pod with soft preferences.",
          [](auto& c) -> auto& { return c.engine.shortlist; }),
      MakeSetting<C>(
          "nominalTtl", "", DurationForm(), "How long a share is kept for a pod between its filter and its bind.",
          [](auto& c) -> auto& { return c.engine.nominal_ttl; }),
      MakeSetting<C>(
          "bindWorkers", "--bind-workers", NumberForm(1, 1024), "Bindings in flight to the API server.",
          [](auto& c) -> auto& { return c.binder.workers; }),
      MakeSetting<C>(
          "bindQueue", "", NumberForm(1, 1'000'000), "Bindings that may wait for a worker; more are refused at once.",
          [](auto& c) -> auto& { return c.binder.max_queue; }),
      MakeSetting<C>(
          "bindDeadline", "", DurationForm(), "Time a bind call may take, retries included; keep it below the extender's httpTimeout.",
          [](auto& c) -> auto& { return c.binder.deadline; }),
      MakeSetting<C>(
          "requeueInterval", "", DurationForm(), "Shortest time between two patches that have refused pods retried.",
          [](auto& c) -> auto& { return c.requeue_interval; }),
      MakeSetting<C>(
          "httpThreads", "", NumberForm(1, 64), "Threads of each HTTP listener.", [](auto& c) -> auto& { return c.http_threads; }),
      MakeSetting<C>(
          "maxBodyMiB", "", NumberForm(1, 1024), "Largest request body in MiB; a larger one is answered with 413.",
          [](auto& c) -> auto& { return c.max_body_mib; }),
      MakeSetting<C>(
          "metricsDeviceLimit", "", NumberForm(0, 1'000'000),
          "With more devices than this, metrics are sums over the cluster, without series per node or device.",
          [](auto& c) -> auto& { return c.metrics_device_limit; }),
      MakeSetting<C>(
          "metricsPodSeries", "", BoolForm(), "Adds series that carry pod names; their number is not bounded.",
          [](auto& c) -> auto& { return c.metrics_pod_series; }),
      MakeSetting<C>(
          "logLevel", "--log-level", WordForm({"trace", "debug", "info", "warn", "error"}), "Least level that is logged.",
          [](auto& c) -> auto& { return c.log_level; }),
      MakeSetting<C>(
          "logFormat", "--log-format", WordForm({"text", "json"}), "How a log line is written.",
          [](auto& c) -> auto& { return c.log_format; }),
  };
}

std::vector<Setting<Vendor>> MakeVendorSettings() {
  const auto resource = [] { return TextForm("resource name"); };
  return {
      MakeSetting<Vendor>(
          "resourceCountName", "", resource(), "Resource that counts devices.", [](auto& v) -> auto& { return v.count_resource; }),
      MakeSetting<Vendor>(
          "resourceMemoryName", "", resource(), "Resource for memory on each device.", [](auto& v) -> auto& { return v.memory_resource; }),
      MakeSetting<Vendor>(
          "resourceMemoryPercentageName", "", resource(), "Resource for memory in percent of each device.",
          [](auto& v) -> auto& { return v.percent_resource; }),
      MakeSetting<Vendor>(
          "resourceCoreName", "", resource(), "Resource for compute in percent of each device.",
          [](auto& v) -> auto& { return v.cores_resource; }),
      MakeSetting<Vendor>(
          "resourcePriorityName", "", resource(), "Resource for a container's priority.",
          [](auto& v) -> auto& { return v.priority_resource; }),
      MakeSetting<Vendor>(
          "defaultMemory", "", NumberForm(0, kInt32Max), "Memory in MiB for requests that name none; 0 is the whole device's.",
          [](auto& v) -> auto& { return v.default_mib; }),
      MakeSetting<Vendor>(
          "defaultCores", "", NumberForm(0, 100), "Compute in percent for requests that name none.",
          [](auto& v) -> auto& { return v.default_cores; }),
      MakeSetting<Vendor>(
          "defaultGPUNum", "", NumberForm(0, 1024),
          "Devices for a container that asks for memory or compute only; 0 gives such a container none.",
          [](auto& v) -> auto& { return v.default_count; }),
      MakeSetting<Vendor>(
          "memoryFactor", "", NumberForm(1, 1'048'576), "MiB that one unit of the memory resource stands for.",
          [](auto& v) -> auto& { return v.memory_factor; }),
  };
}

bool IsLoopback(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

Result<> ValidateElection(const SchedulerConfig& config) {
  if (!config.leader_election.on()) return {};
  if (config.source.kind == ClusterSourceConfig::Kind::kSimulated) {
    return Fail(Code::kInvalid, "leaderElection: a simulated cluster has no leases; leave it at none");
  }
  return k8s::Validate(config.leader_election.timings);
}

Result<> ValidateFiles(std::string_view prefix, const TlsFilesConfig& tls) {
  if (tls.certificate.empty() != tls.key.empty()) {
    return Fail(Code::kInvalid, "{0}CertFile and {0}KeyFile belong together: give both, or none for plain HTTP", prefix);
  }
  if (tls.on()) return {};
  if (!tls.names.empty()) return Fail(Code::kInvalid, "{0}Names needs an authority: give {0}CertFile and {0}KeyFile too", prefix);
  if (tls.client_ca.empty()) return {};
  return Fail(Code::kInvalid, "{0}ClientCaFile asks for client certificates, which need TLS: give {0}CertFile and {0}KeyFile too", prefix);
}

Result<> ValidateExtender(const SchedulerConfig& config) {
  if (auto files = ValidateFiles("tls", config.tls); !files) return files;
  if (config.listen_beyond_loopback || IsLoopback(config.listen.host) || !config.tls.client_ca.empty()) return {};
  return Fail(Code::kInvalid,
              "listen: {} can be reached from other machines, and whoever reaches the extender can bind pods. Listen on 127.0.0.1 beside "
              "kube-scheduler, demand certificates of clients (--tls-client-ca-file), or say --insecure-listen-beyond-loopback",
              EndpointForm().print(config.listen));
}

Result<> ValidateWebhook(const SchedulerConfig& config) {
  if (auto files = ValidateFiles("webhookTls", config.webhook_tls); !files) return files;
  if (!config.webhook_listen) {
    if (!config.webhook_tls.on()) return {};
    return Fail(Code::kInvalid, "webhookTlsCertFile is given, but no webhook: give webhookListen too, or leave both");
  }
  if (config.listen_beyond_loopback || IsLoopback(config.webhook_listen->host) || config.webhook_tls.on()) return {};
  return Fail(Code::kInvalid,
              "webhookListen: {} can be reached from other machines, and without TLS anybody on the way can change pods. Give "
              "--webhook-tls-cert-file and --webhook-tls-key-file, or say --insecure-listen-beyond-loopback",
              EndpointForm().print(*config.webhook_listen));
}

}  // namespace

const std::vector<Setting<SchedulerConfig>>& SchedulerSettings() {
  static const std::vector<Setting<SchedulerConfig>> settings = MakeSchedulerSettings();
  return settings;
}

const std::vector<Setting<Vendor>>& VendorSettings() {
  static const std::vector<Setting<Vendor>> settings = MakeVendorSettings();
  return settings;
}

const std::vector<IgnoredKey>& IgnoredVendorKeys() {
  static const std::vector<IgnoredKey> keys = {
      {"overwriteEnv", "admission's"},
      {"runtimeClassName", "admission's"},
      {"gpuCorePolicy", "admission's"},
      {"disableCoreLimit", "the node agent's"},
      {"deviceSplitCount", "the node agent's"},
      {"deviceMemoryScaling", "the node agent's"},
      {"deviceCoreScaling", "the node agent's"},
      {"preConfiguredDeviceMemory", "the node agent's"},
      {"libCudaLogLevel", "the node agent's"},
      {"enableNumaTopology", "the node agent's"},
      {"migProfileAllowlist", "hardware partitions are not placed yet"},
      {"knownMigGeometries", "hardware partitions are not placed yet"},
  };
  return keys;
}

const std::vector<IgnoredKey>& IgnoredSections() {
  constexpr std::string_view kNotServed = "vendor not served yet";
  static const std::vector<IgnoredKey> sections = {
      {"cambricon", kNotServed}, {"hygon", kNotServed},     {"metax", kNotServed},  {"enflame", kNotServed},
      {"mthreads", kNotServed},  {"iluvatars", kNotServed}, {"kunlun", kNotServed}, {"awsneuron", kNotServed},
      {"amd", kNotServed},       {"vastai", kNotServed},    {"biren", kNotServed},  {"vnpus", kNotServed},
  };
  return sections;
}

Result<> Validate(const SchedulerConfig& config) {
  if (auto election = ValidateElection(config); !election) return election;
  if (auto extender = ValidateExtender(config); !extender) return extender;
  return ValidateWebhook(config);
}

}  // namespace partage::app
