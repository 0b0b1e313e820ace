// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"

namespace partage::k8s {

/// How to reach and convince one API server. PEM members hold text, not file names.
struct ClientConfig {
  std::string server;   ///< "https://host:port" or "http://…" (tests)
  std::string ca_file;  ///< PEM file, re-read when it changes; or ca_pem
  std::string ca_pem;
  std::string tls_server_name;  ///< name to verify instead of the host
  bool insecure_skip_tls_verify = false;
  std::string token;                              ///< bearer token, or
  std::string token_file;                         ///< re-read every minute and after a 401
  std::string client_cert_file, client_key_file;  ///< PEM files, or
  std::string client_cert_pem, client_key_pem;
  std::string ns;  ///< default namespace of the context; "default" when none
  std::chrono::milliseconds connect_timeout{2000};
  std::chrono::milliseconds request_timeout{10000};
  int max_connections = 64;  ///< idle and busy together, streams not counted
};

/// Reads a kubeconfig (YAML): current-context; certificate-authority(-data), server, tls-server-name, insecure-skip-tls-verify; token, tokenFile,
/// client-certificate(-data), client-key(-data). Relative paths are relative to the file.
/// kInvalid names file and member: exec, auth-provider and username/password users are refused with the way out.
Result<ClientConfig> LoadKubeconfig(const std::string& path);

/// From the pod's service account. kInvalid outside a pod.
/// `root` is put in front of /var/run/secrets/… (tests).
Result<ClientConfig> InClusterConfig(const std::string& root = "");

}  // namespace partage::k8s
