// SPDX-License-Identifier: Apache-2.0
#include "http/certificate_issuer.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <memory>

#include <fmt/ranges.h>

#include "base/openssl.h"
#include "base/text.h"

namespace partage::http {
namespace {

using std::chrono::system_clock;

using Bio = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using Key = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, OpensslFree<X509_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;

struct Authority {
  Certificate certificate;
  Key key;
};

Bio Reader(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

Result<Authority> ReadAuthority(const std::string& certificate, const std::string& key) {
  Authority authority{Certificate(PEM_read_bio_X509(Reader(certificate).get(), nullptr, NoPassphrase, nullptr)),
                      Key(PEM_read_bio_PrivateKey(Reader(key).get(), nullptr, NoPassphrase, nullptr))};
  ERR_clear_error();
  if (!authority.certificate) return Fail(Code::kInvalid, "the authority's certificate is no PEM certificate");
  if (!authority.key) return Fail(Code::kInvalid, "the authority's key is no PEM private key without a passphrase");
  if (X509_check_private_key(authority.certificate.get(), authority.key.get()) != 1) {
    ERR_clear_error();
    return Fail(Code::kInvalid, "the authority's key is not that of its certificate");
  }
  if (X509_check_ca(authority.certificate.get()) == 0) {
    return Fail(Code::kInvalid, "the certificate is not an authority's: it may sign no others. Give an authority's, or no names");
  }
  return authority;
}

bool IsAddress(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> parsed{};
  return inet_pton(AF_INET, name.c_str(), parsed.data()) == 1 || inet_pton(AF_INET6, name.c_str(), parsed.data()) == 1;
}

bool IsDnsName(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.'; };
  return !name.empty() && name.size() < 254 && std::all_of(name.begin(), name.end(), allowed);
}

/// As OpenSSL's configuration writes a subjectAltName.
Result<std::string> AlternativeNames(const std::vector<std::string>& names) {
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    if (!IsAddress(name) && !IsDnsName(name)) return Fail(Code::kInvalid, "{} is no name a certificate can be for", Quoted(name));
    parts.push_back((IsAddress(name) ? "IP:" : "DNS:") + name);
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

system_clock::time_point EndOf(const X509* certificate) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) != 1) return {};
  return system_clock::from_time_t(::timegm(&parts));
}

void SetRandomSerial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7f) | 0x40);  // positive, and of that length
  const std::unique_ptr<BIGNUM, OpensslFree<BN_free>> number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate));
}

void Extend(X509* certificate, int kind, const std::string& value) {
  const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str()));
  if (extension) X509_add_ext(certificate, extension.get(), -1);
}

Certificate Unsigned(EVP_PKEY* key, const X509* authority, const std::string& names, std::chrono::seconds lifetime) {
  const auto now = system_clock::now();
  Certificate made(X509_new());
  X509_set_version(made.get(), 2);  // which is version 3
  SetRandomSerial(made.get());
  ASN1_TIME_set(X509_getm_notBefore(made.get()), system_clock::to_time_t(now - std::chrono::hours(1)));
  ASN1_TIME_set(X509_getm_notAfter(made.get()), system_clock::to_time_t(std::min(now + lifetime, EndOf(authority))));
  X509_set_pubkey(made.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("partage"), -1,
                             -1, 0);
  X509_set_issuer_name(made.get(), X509_get_subject_name(authority));
  Extend(made.get(), NID_basic_constraints, "critical,CA:FALSE");
  Extend(made.get(), NID_key_usage, "critical,digitalSignature");
  Extend(made.get(), NID_ext_key_usage, "serverAuth");
  Extend(made.get(), NID_subject_alt_name, names);
  return made;
}

template <class Write>
std::string Pem(Write write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  write(bio.get());
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

Result<IssuedCertificate> IssueServerCertificate(const std::string& authority_pem, const std::string& authority_key,
                                                 const std::vector<std::string>& names, std::chrono::seconds lifetime) {
  auto authority = ReadAuthority(authority_pem, authority_key);
  if (!authority) return Fail(authority.error());
  auto alternatives = AlternativeNames(names);
  if (!alternatives) return Fail(alternatives.error());
  const Key key(EVP_EC_gen("P-256"));
  const Certificate made = Unsigned(key.get(), authority->certificate.get(), *alternatives, lifetime);
  if (X509_sign(made.get(), authority->key.get(), EVP_sha256()) == 0) {
    ERR_clear_error();
    return Fail(Code::kInvalid, "the authority's key signs nothing with SHA-256: give an RSA or ECDSA key");
  }
  return IssuedCertificate{.certificate = Pem([&](BIO* bio) { PEM_write_bio_X509(bio, made.get()); }) + authority_pem,
                           .key = Pem([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); }),
                           .authority_until = EndOf(authority->certificate.get())};
}

}  // namespace partage::http
