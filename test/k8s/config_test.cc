// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/config.h"

#include <cstdlib>

#include <catch2/catch.hpp>

#include "k8s/client/endpoint.h"
#include "test/support/temp_folder.h"

namespace partage::k8s {
namespace {

using test::TempFolder;

/// A kubeconfig in its usual form; `cluster` and `user` are further members of the two.
std::string Kubeconfig(const std::string& cluster, const std::string& user) {
  return R"(apiVersion: v1
kind: Config
current-context: main
contexts:
- name: other
  context: {cluster: elsewhere, user: nobody}
- name: main
  context: {cluster: c1, user: u1, namespace: team}
clusters:
- name: c1
  cluster: {server: "https://10.0.0.1:6443")" +
         cluster + "}\nusers:\n- name: u1\n  user: {" + user + "}\n";
}

Result<ClientConfig> Load(const std::string& text) {
  const TempFolder folder;
  return LoadKubeconfig(folder.Write("config", text));
}

std::string ErrorOf(const std::string& cluster, const std::string& user) {
  const auto config = Load(Kubeconfig(cluster, user));
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().code == Code::kInvalid);
  return config.error().message;
}

TEST_CASE("A kubeconfig's current context is read") {
  const auto config = Load(Kubeconfig(", tls-server-name: api.example, insecure-skip-tls-verify: true", "token: abc"));
  REQUIRE(config.has_value());
  CHECK(config->server == "https://10.0.0.1:6443");
  CHECK(config->tls_server_name == "api.example");
  CHECK(config->insecure_skip_tls_verify);
  CHECK(config->token == "abc");
  CHECK(config->ns == "team");
}

TEST_CASE("File names in a kubeconfig are relative to its folder, and absolute ones stay") {
  const TempFolder folder;
  const auto path = folder.Write("config", Kubeconfig(", certificate-authority: pki/ca.crt",
                                                      "client-certificate: ../me.crt, client-key: /keys/me.key, tokenFile: token"));
  const auto config = LoadKubeconfig(path);
  REQUIRE(config.has_value());
  CHECK(config->ca_file == folder.path() + "/pki/ca.crt");
  CHECK(config->client_cert_file == std::filesystem::path(folder.path()).parent_path().string() + "/me.crt");
  CHECK(config->client_key_file == "/keys/me.key");
  CHECK(config->token_file == folder.path() + "/token");
}

TEST_CASE("Data members of a kubeconfig are base64 and win over files") {
  const auto config = Load(Kubeconfig(", certificate-authority: ca.crt, certificate-authority-data: UEVN",
                                      "client-certificate-data: QQ==, client-key-data: QUI="));
  REQUIRE(config.has_value());
  CHECK(config->ca_pem == "PEM");
  CHECK(config->ca_file.empty());
  CHECK(config->client_cert_pem == "A");
  CHECK(config->client_key_pem == "AB");
}

TEST_CASE("Users Partage cannot act as are refused with the way out") {
  CHECK_THAT(ErrorOf("", "exec: {command: aws}"), Catch::Contains("users[u1].user.exec is not supported; use a token"));
  CHECK_THAT(ErrorOf("", "auth-provider: {name: gcp}"), Catch::Contains("users[u1].user.auth-provider is not supported"));
  CHECK_THAT(ErrorOf("", "username: a, password: b"), Catch::Contains("users[u1].user.username is not supported"));
  CHECK_THAT(ErrorOf("", "token: t, as: root"), Catch::Contains("users[u1].user.as is not supported"));
  CHECK_THAT(ErrorOf(", proxy-url: http://p", "token: t"), Catch::Contains("clusters[c1].cluster.proxy-url is not supported"));
}

TEST_CASE("A broken kubeconfig is an error that names file and member") {
  CHECK_THAT(ErrorOf(", certificate-authority-data: '*'", ""),
             Catch::Contains("clusters[c1].cluster.certificate-authority-data is not base64"));
  CHECK_THAT(ErrorOf(", insecure-skip-tls-verify: maybe", ""), Catch::Contains("insecure-skip-tls-verify is neither true nor false"));
  CHECK_THAT(ErrorOf(", tls-server-name: [a]", ""), Catch::Contains("tls-server-name is not a string"));
  CHECK_THAT(Load("current-context: x\ncontexts: []").error().message, Catch::Contains("contexts has no \"x\""));
  CHECK_THAT(Load("{}").error().message, Catch::Contains("current-context is not set"));
  for (const auto* text : {"", "- a", "a: [", "current-context: {}", "current-context: m\ncontexts: 7", "\x01\x02"}) {
    const auto config = Load(text);
    REQUIRE_FALSE(config.has_value());
    CHECK_THAT(config.error().message, Catch::Contains("config"));
  }
  CHECK_THAT(LoadKubeconfig("/nonexistent/kubeconfig").error().message, Catch::Contains("/nonexistent/kubeconfig"));
}

TEST_CASE("In a pod the service account is used, outside the error says so") {
  const TempFolder folder;
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  CHECK_THAT(InClusterConfig(folder.path()).error().message, Catch::Contains("not in a pod"));
  ::setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  CHECK_THAT(InClusterConfig(folder.path()).error().message, Catch::Contains("service account"));
  const std::string account = "var/run/secrets/kubernetes.io/serviceaccount/";
  folder.Write(account + "token", "t");
  folder.Write(account + "ca.crt", "c");
  folder.Write(account + "namespace", "gpu\n");
  const auto config = InClusterConfig(folder.path());
  REQUIRE(config.has_value());
  CHECK(config->server == "https://[fd00::1]:443");
  CHECK(config->token_file == folder.path() + "/" + account + "token");
  CHECK(config->ns == "gpu");
}

TEST_CASE("Server URLs are taken apart") {
  const auto plain = ParseEndpoint("http://127.0.0.1:8001");
  REQUIRE(plain.has_value());
  CHECK_FALSE(plain->tls);
  CHECK(plain->Authority() == "127.0.0.1:8001");
  const auto ipv6 = ParseEndpoint("https://[::1]");
  REQUIRE(ipv6.has_value());
  CHECK(ipv6->host == "::1");
  CHECK(ipv6->Authority() == "[::1]:443");
  const auto prefixed = ParseEndpoint("https://rancher.example/k8s/clusters/c-1/");
  REQUIRE(prefixed.has_value());
  CHECK(prefixed->prefix == "/k8s/clusters/c-1");
  for (const auto* url : {"", "10.0.0.1:6443", "ftp://x", "https://", "https://:443", "https://x:0", "https://x:99999", "https://x:1a",
                          "https://u@x", "https://[::1"}) {
    CHECK_FALSE(ParseEndpoint(url).has_value());
  }
}

}  // namespace
}  // namespace partage::k8s
