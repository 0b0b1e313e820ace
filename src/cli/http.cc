// SPDX-License-Identifier: Apache-2.0
#include "cli/http.h"

#include <cctype>
#include <utility>

#include <fmt/format.h>
#include <httplib.h>

#include "base/text.h"

namespace partage::cli {

class HttpClient::Impl {
 public:
  Impl(const std::string& origin, std::string prefix, std::chrono::milliseconds timeout)
      : origin_(origin), prefix_(std::move(prefix)), client_(origin) {
    client_.set_keep_alive(true);
    client_.set_tcp_nodelay(true);
    client_.set_connection_timeout(timeout);
    client_.set_read_timeout(timeout);
    client_.set_write_timeout(timeout);
  }

  template <class Call>
  Result<HttpReply> Send(const std::string& path, const Call& call) {
    const httplib::Result result = call(client_, prefix_ + path);
    if (result) return HttpReply{result->status, result->body};
    const bool never_sent = result.error() == httplib::Error::Connection || result.error() == httplib::Error::ConnectionTimeout;
    return Fail(never_sent ? Code::kUnavailable : Code::kUnknown, "{}{}{}: {}", origin_, prefix_, path, httplib::to_string(result.error()));
  }

 private:
  std::string origin_, prefix_;
  httplib::Client client_;
};

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpClient> HttpClient::Make(const std::string& url, std::chrono::milliseconds timeout) {
  constexpr std::string_view kScheme = "http://";
  const auto slash = url.find('/', kScheme.size());
  const std::string origin = url.substr(0, slash);
  if (!url.starts_with(kScheme) || origin.size() == kScheme.size()) {
    return Fail(Code::kInvalid, "{} is not an address; write it as http://HOST:PORT", Quoted(url));
  }
  std::string prefix = slash == std::string::npos ? "" : url.substr(slash);
  while (prefix.ends_with('/')) prefix.pop_back();
  return HttpClient(std::make_unique<Impl>(origin, std::move(prefix), timeout));
}

Result<HttpReply> HttpClient::Get(const std::string& path) {
  return impl_->Send(path, [](httplib::Client& client, const std::string& full) { return client.Get(full); });
}

Result<HttpReply> HttpClient::Post(const std::string& path, const std::string& json) {
  return impl_->Send(path, [&](httplib::Client& client, const std::string& full) { return client.Post(full, json, "application/json"); });
}

Result<HttpReply> HttpClient::Delete(const std::string& path) {
  return impl_->Send(path, [](httplib::Client& client, const std::string& full) { return client.Delete(full); });
}

Result<std::string> BodyOf(const Result<HttpReply>& reply, std::string_view what) {
  if (!reply) return Fail(reply.error(), what);
  if (reply->status != 200) return Fail(Code::kInvalid, "{}: status {}: {}", what, reply->status, reply->body);
  return reply->body;
}

Result<std::string> GetBody(const std::string& url, const std::string& path, std::string_view what) {
  auto server = HttpClient::Make(url);
  if (!server) return Fail(server.error());
  return BodyOf(server->Get(path), what);
}

std::string EncodeParameter(std::string_view value) {
  std::string encoded;
  for (const char c : value) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("-_.~/").find(c) != std::string_view::npos;
    encoded += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

}  // namespace partage::cli
