// SPDX-License-Identifier: Apache-2.0
#include "test/support/certificates.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace partage::test {
namespace {

template <class Write>
std::string ToPem(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

void AddExtension(X509* certificate, int kind, const std::string& value) {
  auto* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// An unsigned certificate for `key`.
X509* NewCertificate(EVP_PKEY* key, const std::string& common_name, X509* issuer, long seconds) {
  static long serial = 1;
  auto* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), seconds);
  X509_set_pubkey(certificate, key);
  auto* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer == nullptr ? certificate : issuer));
  return certificate;
}

std::string CertificatePem(X509* certificate) {
  return ToPem([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
}

std::string KeyPem(EVP_PKEY* key) {
  return ToPem([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

}  // namespace

struct Authority::Impl {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = nullptr;
  std::string pem;
};

Authority::Authority() : impl_(std::make_unique<Impl>()) {
  static int made = 0;  // verification tells authorities apart by their names
  impl_->certificate = NewCertificate(impl_->key, "Partage test authority " + std::to_string(++made), nullptr, 3600);
  AddExtension(impl_->certificate, NID_basic_constraints, "critical,CA:TRUE");
  X509_sign(impl_->certificate, impl_->key, EVP_sha256());
  impl_->pem = CertificatePem(impl_->certificate);
}

Authority::~Authority() {
  X509_free(impl_->certificate);
  EVP_PKEY_free(impl_->key);
}

const std::string& Authority::certificate() const { return impl_->pem; }

std::string Authority::key() const { return KeyPem(impl_->key); }

Identity Authority::Issue(const std::string& names, long seconds) const {
  auto* key = EVP_EC_gen("P-256");
  auto* certificate = NewCertificate(key, "Partage test", impl_->certificate, seconds);
  AddExtension(certificate, NID_subject_alt_name, names);
  X509_sign(certificate, impl_->key, EVP_sha256());
  Identity identity{CertificatePem(certificate), KeyPem(key)};
  X509_free(certificate);
  EVP_PKEY_free(key);
  return identity;
}

}  // namespace partage::test
