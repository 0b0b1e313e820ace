// SPDX-License-Identifier: Apache-2.0
// Every metric that is counted or timed as it happens. One row each; docs/metrics.md is generated from here. Metrics computed from state at scrape time:
// metrics/collectors.
#pragma once

#include "metrics/registry.h"

namespace partage::metrics {

inline const std::vector<double> kLatencyBuckets = {0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5};

inline const Desc kFilterSeconds{Desc::Type::kHistogram,
                                 "partage_filter_duration_seconds",
                                 "Time to answer a filter call, from whole body to answer.",
                                 {"outcome"},
                                 kLatencyBuckets};
inline const Desc kPrioritizeSeconds{
    Desc::Type::kHistogram, "partage_prioritize_duration_seconds", "Time to answer a prioritize call.", {}, kLatencyBuckets};
inline const Desc kBindSeconds{Desc::Type::kHistogram,
                               "partage_bind_duration_seconds",
                               "Time to answer a bind call, API server included.",
                               {"outcome"},
                               kLatencyBuckets};
inline const Desc kRefusals{Desc::Type::kCounter,
                            "partage_filter_refused_nodes_total",
                            "Nodes refused by filter calls that found no fit, by reason.",
                            {"reason"},
                            {}};
inline const Desc kBindingWrites{
    Desc::Type::kCounter, "partage_binding_writes_total", "Binding requests sent to the API server, by outcome.", {"outcome"}, {}};
inline const Desc kNominationRaces{Desc::Type::kCounter,
                                   "partage_nomination_races_total",
                                   "Filter answers computed again because another pod took the room first.",
                                   {},
                                   {}};
inline const Desc kRequeuePatches{
    Desc::Type::kCounter, "partage_requeue_patches_total", "Node annotations patched to have waiting pods retried.", {}, {}};
inline const Desc kRequestErrors{
    Desc::Type::kCounter, "partage_http_bad_requests_total", "Requests refused as malformed, by path.", {"path"}, {}};

inline const Desc kWebhookSeconds{
    Desc::Type::kHistogram, "partage_webhook_duration_seconds", "Time to answer an admission review.", {"outcome"}, kLatencyBuckets};
inline const Desc kTlsLoads{Desc::Type::kCounter,
                            "partage_tls_certificate_loads_total",
                            "Certificates of a listener read from their files, by outcome; rejected ones leave the old in use.",
                            {"listener", "outcome"},
                            {}};
inline const Desc kTlsHandshakeFailures{Desc::Type::kCounter,
                                        "partage_tls_handshake_failures_total",
                                        "Clients of a listener that did not get through the TLS handshake.",
                                        {"listener"},
                                        {}};
inline const Desc kTlsExpiry{Desc::Type::kGauge,
                             "partage_tls_certificate_expiry_timestamp_seconds",
                             "When the certificate a listener uses ceases to be valid, as a Unix time.",
                             {"listener"},
                             {}};

inline const Desc kActive{
    Desc::Type::kGauge, "partage_active", "1 while this replica may write to the cluster; the others are on standby.", {}, {}};
inline const Desc kActiveChanges{
    Desc::Type::kCounter, "partage_active_changes_total", "Times this replica became active, or ceased to be.", {"state"}, {}};
inline const Desc kFencedWrites{Desc::Type::kCounter,
                                "partage_fenced_writes_total",
                                "Writes not sent because the lease was not certain to be held, or had been another's in between.",
                                {},
                                {}};

inline const Desc kPreemptionAttempts{Desc::Type::kCounter,
                                      "partage_preemption_attempts_total",
                                      "Tries to make room for a waiting pod by evicting others, by outcome.",
                                      {"outcome"},
                                      {}};
inline const Desc kPreemptionVictims{
    Desc::Type::kCounter, "partage_preemption_victims_total", "Pods evicted to make room for one of higher priority.", {}, {}};
inline const Desc kPreemptionProtected{Desc::Type::kCounter,
                                       "partage_preemption_protected_total",
                                       "Pods that would have been evicted, had a PodDisruptionBudget allowed it.",
                                       {},
                                       {}};

inline const Desc kEvents{Desc::Type::kCounter,
                          "partage_events_total",
                          "Events about pods: written, dropped (queue full, too many at once, on standby), failed at the API server.",
                          {"outcome"},
                          {}};

/// All of the above, in this order: for documentation and lint.
inline const std::vector<const Desc*> kCatalog = {
    &kFilterSeconds,  &kPrioritizeSeconds, &kBindSeconds,    &kRefusals,           &kBindingWrites,        &kNominationRaces,
    &kRequeuePatches, &kRequestErrors,     &kWebhookSeconds, &kTlsLoads,           &kTlsHandshakeFailures, &kTlsExpiry,
    &kActive,         &kActiveChanges,     &kFencedWrites,   &kPreemptionAttempts, &kPreemptionVictims,    &kPreemptionProtected,
    &kEvents};

}  // namespace partage::metrics
