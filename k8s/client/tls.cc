// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <utility>
#include <vector>

#include "base/log.h"
#include "base/openssl.h"
#include "base/text_file.h"
#include "k8s/client/endpoint.h"

namespace partage::k8s {
namespace {

using Bio = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using Certificate = std::unique_ptr<X509, OpensslFree<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;

thread_local std::string last_verify_error;

int RememberVerifyError(int trusted, X509_STORE_CTX* context) {
  if (!trusted) last_verify_error = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
  return trusted;
}

// A PEM text and where it is from.
struct Pem {
  std::string text, from;
};

Result<Pem> ReadPem(const std::string& file, const std::string& text, std::string_view member) {
  if (file.empty()) return Pem{text, std::string(member)};
  auto read = ReadTextFile(file);
  if (!read) return Fail(Code::kInvalid, "{}: {}", member, read.error().message);
  return Pem{*std::move(read), fmt::format("{} {}", member, file)};
}

Result<std::vector<Certificate>> ParseCertificates(const Pem& pem) {
  const Bio bio(BIO_new_mem_buf(pem.text.data(), static_cast<int>(pem.text.size())));
  std::vector<Certificate> certificates;
  while (auto* certificate = PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr)) certificates.emplace_back(certificate);
  ERR_clear_error();  // the loop ends with "no start line"
  if (certificates.empty()) return Fail(Code::kInvalid, "{} holds no PEM certificate", pem.from);
  return certificates;
}

Result<Key> ParseKey(const Pem& pem) {
  const Bio bio(BIO_new_mem_buf(pem.text.data(), static_cast<int>(pem.text.size())));
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (!key) return Fail(Code::kInvalid, "{} holds no PEM private key (an encrypted key must be decrypted first)", pem.from);
  return key;
}

void AppendStamp(const std::string& file, std::string& stamps) {
  struct stat state {};
  if (file.empty() || ::stat(file.c_str(), &state) != 0) return;
  stamps += fmt::format("{}:{}:{}.{};", state.st_ino, state.st_size, state.st_mtim.tv_sec, state.st_mtim.tv_nsec);
}

}  // namespace

// What the files or PEM members held when last read.
struct Tls::Material {
  Store authorities;                      // null: the system's
  std::vector<Certificate> certificates;  // ours, leaf first
  Key key;

  Result<> LoadAuthorities(const ClientConfig& config) {
    if (config.ca_file.empty() && config.ca_pem.empty()) return {};
    const auto pem = ReadPem(config.ca_file, config.ca_pem, "certificate-authority");
    if (!pem) return Fail(pem.error());
    const auto parsed = ParseCertificates(*pem);
    if (!parsed) return Fail(parsed.error());
    authorities.reset(X509_STORE_new());
    for (const auto& authority : *parsed) X509_STORE_add_cert(authorities.get(), authority.get());
    return {};
  }

  Result<> LoadIdentity(const ClientConfig& config) {
    const bool has_certificate = !config.client_cert_file.empty() || !config.client_cert_pem.empty();
    const bool has_key = !config.client_key_file.empty() || !config.client_key_pem.empty();
    if (!has_certificate && !has_key) return {};
    if (has_certificate != has_key) return Fail(Code::kInvalid, "client-certificate and client-key must be given together");
    const auto certificate_pem = ReadPem(config.client_cert_file, config.client_cert_pem, "client-certificate");
    if (!certificate_pem) return Fail(certificate_pem.error());
    const auto key_pem = ReadPem(config.client_key_file, config.client_key_pem, "client-key");
    if (!key_pem) return Fail(key_pem.error());
    auto parsed = ParseCertificates(*certificate_pem);
    if (!parsed) return Fail(parsed.error());
    auto parsed_key = ParseKey(*key_pem);
    if (!parsed_key) return Fail(parsed_key.error());
    certificates = *std::move(parsed);
    key = *std::move(parsed_key);
    if (X509_check_private_key(certificates.front().get(), key.get()) == 1) return {};
    ERR_clear_error();
    return Fail(Code::kInvalid, "{} does not belong to {}", key_pem->from, certificate_pem->from);
  }
};

Tls::Tls(const ClientConfig& config, std::string name) : config_(config), name_(std::move(name)) {}

Tls::~Tls() = default;

Result<std::unique_ptr<Tls>> Tls::Make(const ClientConfig& config, std::string name) {
  std::unique_ptr<Tls> tls(new Tls(config, std::move(name)));
  auto stamps = tls->FileStamps();
  auto material = tls->Load();
  if (!material) return Fail(material.error());
  MutexLock lock(tls->mutex_);
  tls->stamps_ = std::move(stamps);
  tls->material_ = *std::move(material);
  return tls;
}

Result<std::shared_ptr<const Tls::Material>> Tls::Load() const {
  auto material = std::make_shared<Material>();
  if (auto loaded = material->LoadAuthorities(config_); !loaded) return Fail(loaded.error());
  if (auto loaded = material->LoadIdentity(config_); !loaded) return Fail(loaded.error());
  return material;
}

std::string Tls::FileStamps() const {
  std::string stamps;
  for (const auto* file : {&config_.ca_file, &config_.client_cert_file, &config_.client_key_file}) AppendStamp(*file, stamps);
  return stamps;
}

std::shared_ptr<const Tls::Material> Tls::Current() {
  auto stamps = FileStamps();
  MutexLock lock(mutex_);
  if (stamps == stamps_) return material_;
  stamps_ = std::move(stamps);
  if (auto fresh = Load()) {
    material_ = *std::move(fresh);
  } else {
    log::warn("a changed certificate cannot be used, the old one stays: {}", fresh.error().message);
  }
  return material_;
}

void Tls::Apply(SSL_CTX* context) {
  const auto material = Current();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (!material->certificates.empty()) {
    SSL_CTX_use_certificate(context, material->certificates.front().get());
    SSL_CTX_use_PrivateKey(context, material->key.get());
    SSL_CTX_clear_chain_certs(context);
    for (std::size_t i = 1; i < material->certificates.size(); ++i) SSL_CTX_add1_chain_cert(context, material->certificates[i].get());
  }
  if (config_.insecure_skip_tls_verify) return SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  if (material->authorities) {
    SSL_CTX_set1_cert_store(context, material->authorities.get());
  } else {
    SSL_CTX_set_default_verify_paths(context);
  }
  auto* rules = SSL_CTX_get0_param(context);
  // As Go's clients do: what stands in certificate-authority is trusted, be it a root or not.
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (IsIpAddress(name_)) {
    X509_VERIFY_PARAM_set1_ip_asc(rules, name_.c_str());
  } else {
    X509_VERIFY_PARAM_set1_host(rules, name_.c_str(), name_.size());
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, RememberVerifyError);
}

std::string Tls::ServerNameIndication() const { return IsIpAddress(name_) ? std::string() : name_; }

std::string Tls::TakeHandshakeError() {
  if (!last_verify_error.empty()) return std::exchange(last_verify_error, {});
  const auto* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason == nullptr ? "the server broke it off" : reason;
}

}  // namespace partage::k8s
