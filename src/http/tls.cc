// SPDX-License-Identifier: Apache-2.0

#include "http/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <utility>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>

#include "base/log.h"
#include "base/text_file.h"
#include "http/certificate_issuer.h"

namespace partage::http {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::system_clock;

constexpr std::size_t kMaxFile = 1u << 20;
// With forward secrecy and authenticated encryption; those of TLS 1.3 all have both.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

/// What OpenSSL says first, which is nearest to the cause.
std::string Fault(const error_code& ec) {
  ERR_clear_error();
  return ec.message();
}

system_clock::time_point TimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return system_clock::from_time_t(::timegm(&parts));
}

// A session that is resumed is not verified again, so that a client whose authority was taken away would go on being served: there is none to resume.
void Harden(asio::ssl::context& context) {
  SSL_CTX* native = context.native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(native, kCiphers);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_options(native, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  error_code ignored;
  // OpenSSL would ask the terminal for the passphrase of an encrypted key.
  context.set_password_callback([](std::size_t, asio::ssl::context::password_purpose) { return std::string(); }, ignored);
}

// Clients that hold several certificates choose by the authorities the server names.
Result<> TrustClientsOf(asio::ssl::context& context, const std::string& authorities, const std::string& file) {
  error_code ec;
  context.add_certificate_authority(asio::buffer(authorities), ec);
  X509_STORE* store = SSL_CTX_get_cert_store(context.native_handle());
  auto* names = sk_X509_NAME_new_null();
  for (int i = 0; i < sk_X509_OBJECT_num(X509_STORE_get0_objects(store)); ++i) {
    const X509* authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(X509_STORE_get0_objects(store), i));
    if (authority != nullptr) sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(authority)));
  }
  const bool none = sk_X509_NAME_num(names) == 0;
  SSL_CTX_set_client_CA_list(context.native_handle(), names);
  if (ec || none) return Fail(Code::kInvalid, "{} holds no usable PEM certificate{}", file, ec ? " (" + Fault(ec) + ")" : "");
  context.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, ec);
  return {};
}

}  // namespace

struct TlsFiles::Loaded {
  std::shared_ptr<asio::ssl::context> context;
  system_clock::time_point valid_from, valid_until;
  system_clock::time_point authority_until{};

  bool InDate() const { return valid_from <= system_clock::now() && system_clock::now() < valid_until; }
};

TlsFiles::TlsFiles(TlsOptions options) : options_(std::move(options)) {}

TlsFiles::~TlsFiles() = default;

Result<TlsFiles::Texts> TlsFiles::Read() const {
  Texts texts;
  const std::pair<const std::string*, std::string*> files[] = {
      {&options_.certificate_file, &texts.certificate}, {&options_.key_file, &texts.key}, {&options_.client_ca_file, &texts.client_ca}};
  for (const auto& [file, text] : files) {
    if (file->empty()) continue;
    auto read = ReadTextFile(*file, kMaxFile);
    if (!read) return Fail(read.error());
    *text = *std::move(read);
  }
  return texts;
}

Result<TlsFiles::Loaded> TlsFiles::Make(const Texts& texts) const {
  Loaded loaded{.context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server),
                .valid_from = {},
                .valid_until = {},
                .authority_until = {}};
  auto& context = *loaded.context;
  Harden(context);
  error_code ec;
  context.use_certificate_chain(asio::buffer(texts.certificate), ec);
  if (ec) return Fail(Code::kInvalid, "{} holds no usable PEM certificate ({})", options_.certificate_file, Fault(ec));
  context.use_private_key(asio::buffer(texts.key), asio::ssl::context::pem, ec);
  if (ec || SSL_CTX_check_private_key(context.native_handle()) != 1) {
    return Fail(Code::kInvalid, "{} is no PEM private key, without a passphrase, of the certificate in {}{}", options_.key_file,
                options_.certificate_file, ec ? " (" + Fault(ec) + ")" : "");
  }
  if (!options_.client_ca_file.empty()) {
    if (auto trusted = TrustClientsOf(context, texts.client_ca, options_.client_ca_file); !trusted) return Fail(trusted.error());
  }
  const X509* certificate = SSL_CTX_get0_certificate(context.native_handle());
  loaded.valid_from = TimeOf(X509_get0_notBefore(certificate));
  loaded.valid_until = TimeOf(X509_get0_notAfter(certificate));
  return loaded;
}

Result<TlsFiles::Loaded> TlsFiles::Issue(const Texts& texts) const {
  if (options_.names.empty()) return Make(texts);
  const auto issued = IssueServerCertificate(texts.certificate, texts.key, options_.names, options_.issue_for);
  if (!issued) return Fail(issued.error(), fmt::format("{} and {}", options_.certificate_file, options_.key_file));
  auto loaded = Make({issued->certificate, issued->key, texts.client_ca});
  if (loaded) loaded->authority_until = issued->authority_until;
  return loaded;
}

bool TlsFiles::IssueIsDue() const {
  return !options_.names.empty() && valid_until_ < authority_until_ && system_clock::now() + options_.renew_before >= valid_until_;
}

void TlsFiles::Use(Texts texts, Loaded loaded) {
  used_ = std::move(texts);
  last_fault_.clear();
  valid_from_ = loaded.valid_from;
  valid_until_ = loaded.valid_until;
  authority_until_ = loaded.authority_until;
  {
    MutexLock lock(mutex_);
    context_ = std::move(loaded.context);
  }
  Tell({.kind = TlsEvent::Kind::kLoaded, .valid_until = valid_until_});
}

Result<> TlsFiles::Load() {
  auto texts = Read();
  if (!texts) return Fail(texts.error());
  auto loaded = Issue(*texts);
  if (!loaded) return Fail(loaded.error());
  if (!loaded->InDate()) log::warn("{}: the certificate is out of date; clients will refuse it", options_.certificate_file);
  Use(*std::move(texts), *std::move(loaded));
  return {};
}

Result<> TlsFiles::Renew(const Texts& texts) {
  auto loaded = Issue(texts);
  if (!loaded) return Fail(loaded.error());
  const bool current = Loaded{nullptr, valid_from_, valid_until_, {}}.InDate();
  if (!loaded->InDate() && current) return Fail(Code::kInvalid, "the certificate in {} is out of date", options_.certificate_file);
  Use(texts, *std::move(loaded));
  log::info("{}: new certificates are in use", options_.certificate_file);
  return {};
}

void TlsFiles::Refresh() {
  const auto texts = Read();
  if (texts && *texts == used_ && !IssueIsDue()) return last_fault_.clear();
  const auto renewed = texts ? Renew(*texts) : Result<>(Fail(texts.error()));
  if (!renewed) OnFault(renewed.error().message);
}

void TlsFiles::OnFault(const std::string& fault) {
  const bool again = fault == last_fault_;
  if (!again) told_ = false;
  last_fault_ = fault;
  if (!again || std::exchange(told_, true)) return;
  log::warn("{}; the certificates read before stay in use", fault);
  Tell({.kind = TlsEvent::Kind::kRejected, .valid_until = valid_until_});
}

std::shared_ptr<asio::ssl::context> TlsFiles::context() const {
  MutexLock lock(mutex_);
  return context_;
}

void TlsFiles::OnHandshakeFailure(const std::string& why) const {
  log::debug("a TLS handshake failed: {}", why);
  Tell({.kind = TlsEvent::Kind::kHandshakeFailed, .valid_until = {}});
}

void TlsFiles::Tell(TlsEvent event) const {
  if (options_.on_event) options_.on_event(event);
}

}  // namespace partage::http
