// SPDX-License-Identifier: Apache-2.0

#include "test/http/tls_client.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <signal.h>

#include <utility>

namespace partage::test {
namespace {

template <class Visit>
void WithBio(const std::string& pem, Visit visit) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  visit(bio);
  BIO_free(bio);
}

std::size_t ResponseSize(std::string_view received) {
  constexpr std::string_view kField = "Content-Length: ";
  const auto end = received.find("\r\n\r\n"), at = received.find(kField);
  if (end == received.npos || at > end) return std::string::npos;
  return end + 4 + std::strtoul(received.data() + at + kField.size(), nullptr, 10);
}

}  // namespace

TlsClient::TlsClient(std::uint16_t port, const TlsClientOptions& options) : tcp_(port), context_(SSL_CTX_new(TLS_client_method())) {
  ::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to a socket as to a file
  // The client of a test may offer what the server must refuse.
  SSL_CTX_set_security_level(context_.get(), 0);
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context_.get(), options.max_version);
  if (!options.ca.empty()) Trust(options.ca);
  if (!options.identity.certificate.empty()) Show(options.identity);
  ssl_.reset(SSL_new(context_.get()));
  SSL_set_fd(ssl_.get(), tcp_.socket());
  X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), "127.0.0.1");
  Note(SSL_connect(ssl_.get()));
}

void TlsClient::Trust(const std::string& ca) {
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  WithBio(ca, [&](BIO* bio) {
    X509* authority = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), authority);
    X509_free(authority);
  });
}

void TlsClient::Show(const Identity& identity) {
  WithBio(identity.certificate, [&](BIO* bio) {
    X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    SSL_CTX_use_certificate(context_.get(), certificate);
    X509_free(certificate);
  });
  WithBio(identity.key, [&](BIO* bio) {
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    SSL_CTX_use_PrivateKey(context_.get(), key);
    EVP_PKEY_free(key);
  });
}

bool TlsClient::Note(int result) {
  if (result > 0) return true;
  const auto code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  fault_ = reason == nullptr ? "connection closed" : reason;
  ERR_clear_error();
  return false;
}

bool TlsClient::Fill() {
  char bytes[16384];
  const int received = SSL_read(ssl_.get(), bytes, sizeof bytes);
  if (!Note(received)) return false;
  buffer_.append(bytes, static_cast<std::size_t>(received));
  return true;
}

std::string TlsClient::Ask(std::string_view bytes) {
  if (!fault_.empty() || !Note(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())))) return "";
  while (ResponseSize(buffer_) == std::string::npos || buffer_.size() < ResponseSize(buffer_)) {
    if (!Fill()) return "";
  }
  const auto size = ResponseSize(buffer_);
  auto response = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return response;
}

std::string TlsClient::serial() const {
  X509* certificate = SSL_get1_peer_certificate(ssl_.get());
  if (certificate == nullptr) return "";
  const ASN1_INTEGER* number = X509_get0_serialNumber(certificate);
  std::string serial(reinterpret_cast<const char*>(ASN1_STRING_get0_data(number)), static_cast<std::size_t>(ASN1_STRING_length(number)));
  X509_free(certificate);
  return serial;
}

bool TlsClient::EndsProperly() {
  char byte = 0;
  return SSL_read(ssl_.get(), &byte, 1) == 0 && (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
}

}  // namespace partage::test
