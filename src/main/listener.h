// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "http/server.h"
#include "main/scheduler_config.h"
#include "metrics/registry.h"

namespace partage::app {

/// How one of the program's listeners serves: the configuration's limits, and TLS where `tls` names files, whose renewals and refused clients are counted
/// under `name`. `registry` must outlive the server.
http::ServerOptions ListenerOptions(const std::string& name, const http::Endpoint& endpoint, const TlsFilesConfig& tls,
                                    const SchedulerConfig& config, metrics::Registry& registry);

}  // namespace partage::app
