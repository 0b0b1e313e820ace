// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/config.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <openssl/evp.h>

#include "base/text_file.h"
#include "base/yaml.h"

namespace partage::k8s {
namespace {

constexpr const char* kServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";

Result<std::string> DecodeBase64(std::string text) {
  std::erase_if(text, [](char c) { return c == '\n' || c == '\r' || c == ' '; });
  const auto padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string out(text.size() / 4 * 3, '\0');
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  const auto* from = reinterpret_cast<const unsigned char*>(text.data());
  if (text.size() % 4 != 0 || EVP_DecodeBlock(to, from, static_cast<int>(text.size())) < 0) return Fail(Code::kInvalid, "is not base64");
  out.resize(out.size() - static_cast<std::size_t>(padding));
  return out;
}

// One mapping of a kubeconfig, with the path to it for messages.
class Section {
 public:
  Section(YAML::Node node, std::string name, const std::filesystem::path& file)
      : node_(std::move(node)), name_(std::move(name)), file_(file) {}

  auto Wrong(const std::string& member, std::string_view what) const {
    return Fail(Code::kInvalid, "{}: {}.{} {}", file_.string(), name_, member, what);
  }

  /// "" when absent or null.
  Result<std::string> Text(const char* member) const {
    const auto value = node_[member];
    if (!value || value.IsNull()) return std::string();
    if (!value.IsScalar()) return Wrong(member, "is not a string");
    return value.Scalar();
  }

  /// A file name, relative to the kubeconfig's folder.
  Result<> File(const char* member, std::string& into) const {
    auto text = Text(member);
    if (!text) return Fail(text.error());
    if (!text->empty()) into = (file_.parent_path() / *text).lexically_normal().string();
    return {};
  }

  /// A PEM text in base64.
  Result<> Data(const char* member, std::string& into) const {
    auto text = Text(member);
    if (!text) return Fail(text.error());
    auto decoded = DecodeBase64(*std::move(text));
    if (!decoded) return Wrong(member, decoded.error().message);
    into = *std::move(decoded);
    return {};
  }

  /// X and X-data; the data wins, as in every Kubernetes client.
  Result<> FileOrData(const std::string& member, std::string& file, std::string& data) const {
    if (auto read = File(member.c_str(), file); !read) return read;
    if (auto read = Data((member + "-data").c_str(), data); !read) return read;
    if (!data.empty()) file.clear();
    return {};
  }

  Result<> Refuse(const char* member, const char* way_out) const {
    if (!node_[member]) return {};
    return Wrong(member, fmt::format("is not supported; {}", way_out));
  }

 private:
  YAML::Node node_;
  std::string name_;
  const std::filesystem::path& file_;
};

// The `member` of the item of `list` named `name`: contexts[name].context.
Result<Section> Find(const YAML::Node& root, const std::string& list, const char* member, const std::string& name,
                     const std::filesystem::path& file) {
  for (const auto& item : root[list]) {
    if (!item.IsMap() || !item["name"] || !item["name"].IsScalar() || item["name"].Scalar() != name) continue;
    if (item[member] && item[member].IsMap()) return Section(item[member], fmt::format("{}[{}].{}", list, name, member), file);
  }
  return Fail(Code::kInvalid, "{}: {} has no \"{}\"", file.string(), list, name);
}

Result<> ReadCluster(const Section& cluster, ClientConfig& config) {
  auto server = cluster.Text("server");
  if (!server) return Fail(server.error());
  if (server->empty()) return cluster.Wrong("server", "is missing");
  config.server = *std::move(server);
  if (auto read = cluster.Refuse("proxy-url", "reach the API server directly"); !read) return read;
  if (auto read = cluster.FileOrData("certificate-authority", config.ca_file, config.ca_pem); !read) return read;
  auto name = cluster.Text("tls-server-name");
  if (!name) return Fail(name.error());
  config.tls_server_name = *std::move(name);
  const auto insecure = cluster.Text("insecure-skip-tls-verify");
  if (!insecure) return Fail(insecure.error());
  if (!insecure->empty() && *insecure != "true" && *insecure != "false")
    return cluster.Wrong("insecure-skip-tls-verify", "is neither true nor false");
  config.insecure_skip_tls_verify = *insecure == "true";
  return {};
}

Result<> ReadUser(const Section& user, ClientConfig& config) {
  constexpr const char* kWayOut = "use a token, a tokenFile or a client certificate (kubectl create token makes a token)";
  for (const auto* member : {"exec", "auth-provider", "username", "password"}) {
    if (auto read = user.Refuse(member, kWayOut); !read) return read;
  }
  for (const auto* member : {"as", "as-uid", "as-groups", "as-user-extra"}) {
    if (auto read = user.Refuse(member, "give Partage an account of its own"); !read) return read;
  }
  auto token = user.Text("token");
  if (!token) return Fail(token.error());
  config.token = *std::move(token);
  if (auto read = user.File("tokenFile", config.token_file); !read) return read;
  if (auto read = user.FileOrData("client-certificate", config.client_cert_file, config.client_cert_pem); !read) return read;
  return user.FileOrData("client-key", config.client_key_file, config.client_key_pem);
}

Result<ClientConfig> ReadKubeconfig(const YAML::Node& root, const std::filesystem::path& file) {
  if (!root.IsMap()) return Fail(Code::kInvalid, "{} is not a kubeconfig: it holds no YAML mapping", file.string());
  const auto current = Section(root, "kubeconfig", file).Text("current-context");
  if (!current) return Fail(current.error());
  if (current->empty()) return Fail(Code::kInvalid, "{}: current-context is not set (kubectl config use-context sets it)", file.string());
  const auto context = Find(root, "contexts", "context", *current, file);
  if (!context) return Fail(context.error());
  const auto cluster_name = context->Text("cluster"), user_name = context->Text("user"), ns = context->Text("namespace");
  for (const auto* text : {&cluster_name, &user_name, &ns}) {
    if (!*text) return Fail(text->error());
  }
  ClientConfig config;
  config.ns = ns->empty() ? "default" : *ns;
  const auto cluster = Find(root, "clusters", "cluster", *cluster_name, file);
  if (!cluster) return Fail(cluster.error());
  if (auto read = ReadCluster(*cluster, config); !read) return Fail(read.error());
  if (user_name->empty()) return config;
  const auto user = Find(root, "users", "user", *user_name, file);
  if (!user) return Fail(user.error());
  if (auto read = ReadUser(*user, config); !read) return Fail(read.error());
  return config;
}

std::string Environment(const char* name) {
  const auto* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

}  // namespace

Result<ClientConfig> LoadKubeconfig(const std::string& path) {
  const auto text = ReadTextFile(path);
  if (!text) return Fail(Code::kInvalid, "kubeconfig: {}", text.error().message);
  const auto yaml = LoadYaml(*text, path);
  if (!yaml) return Fail(yaml.error());
  try {
    return ReadKubeconfig(*yaml, path);
  } catch (const YAML::Exception& error) {
    return Fail(Code::kInvalid, "{}: {}", path, error.what());
  }
}

Result<ClientConfig> InClusterConfig(const std::string& root) {
  const auto host = Environment("KUBERNETES_SERVICE_HOST"), port = Environment("KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return Fail(Code::kInvalid,
                "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; outside a cluster use --kubeconfig");
  }
  const auto folder = root + kServiceAccount;
  ClientConfig config;
  const bool ipv6 = host.find(':') != host.npos;
  config.server = fmt::format("https://{}{}{}:{}", ipv6 ? "[" : "", host, ipv6 ? "]" : "", port);
  config.ca_file = folder + "/ca.crt";
  config.token_file = folder + "/token";
  for (const auto& file : {config.ca_file, config.token_file}) {
    if (auto text = ReadTextFile(file); !text) {
      return Fail(Code::kInvalid, "the pod has no service account token mounted (automountServiceAccountToken): {}", text.error().message);
    }
  }
  auto ns = ReadTextFile(folder + "/namespace").value_or("default");
  ns.erase(ns.find_last_not_of(" \t\r\n") + 1);
  config.ns = ns.empty() ? "default" : ns;
  return config;
}

}  // namespace partage::k8s
