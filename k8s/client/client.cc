// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/client.h"

#include <algorithm>
#include <csignal>
#include <limits>

#include <nlohmann/json.hpp>

#include "k8s/client/connection.h"
#include "k8s/client/endpoint.h"
#include "k8s/client/pool.h"
#include "k8s/client/tls.h"
#include "k8s/client/token.h"

namespace partage::k8s {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kMaxBody = 512u << 20;
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kHungUp = "not waited for, the process is ending";

void IgnoreSigpipe() {
  struct sigaction current {};
  if (::sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) std::signal(SIGPIPE, SIG_IGN);
}

bool IsCleanPath(std::string_view path) {
  return path.starts_with('/') && std::all_of(path.begin(), path.end(), [](unsigned char c) { return c > ' ' && c != 0x7f; });
}

class HttpClient final : public Client {
 public:
  HttpClient(ClientConfig config, Endpoint endpoint, std::unique_ptr<Tls> tls, const Clock& clock)
      : config_(std::move(config)),
        endpoint_(std::move(endpoint)),
        tls_(std::move(tls)),
        token_(config_, clock),
        requests_([this] { return NewConnection(); }, config_.max_connections, clock),
        streams_([this] { return NewConnection(); }, std::numeric_limits<int>::max(), clock) {}

  Result<> Load() { return token_.Load(); }

  Result<Reply> Get(const std::string& path) override { return Request("GET", path, {}, {}); }
  Result<Reply> Post(const std::string& path, const std::string& body) override { return Request("POST", path, body, std::string(kJson)); }
  Result<Reply> PostBy(Clock::Mono send_by, const std::string& path, const std::string& body) override {
    return Request("POST", path, body, std::string(kJson), send_by);
  }
  Result<Reply> Put(const std::string& path, const std::string& body) override { return Request("PUT", path, body, std::string(kJson)); }
  Result<Reply> Patch(const std::string& path, const std::string& body, const std::string& content_type) override {
    return Request("PATCH", path, body, content_type);
  }
  Result<Reply> Delete(const std::string& path) override { return Request("DELETE", path, {}, {}); }

  Result<> GetStream(const std::string& path, const Stream& stream, std::stop_token stop) override {
    Exchange exchange{.method = "GET", .path = path, .on_data = stream.on_data, .idle = stream.idle, .stop = std::move(stop)};
    return Run(streams_, std::move(exchange), stream.on_status);
  }

  void HangUp() override { hung_up_.request_stop(); }

  std::string server() const override { return config_.server; }

 private:
  std::unique_ptr<Connection> NewConnection() { return Connection::Make(endpoint_, tls_.get(), config_.connect_timeout); }

  Result<Reply> Request(std::string method, const std::string& path, const std::string& body, std::string content_type,
                        Clock::Mono send_by = Clock::Mono::max()) {
    Reply reply;
    bool too_large = false;
    Exchange exchange{.method = std::move(method), .path = path, .body = body, .content_type = std::move(content_type)};
    exchange.deadline = SteadyClock::now() + config_.request_timeout;
    exchange.send_by = std::min(send_by, exchange.deadline);
    exchange.stop = hung_up_.get_token();
    exchange.on_data = [&](std::string_view piece) {
      too_large = reply.body.size() + piece.size() > kMaxBody;
      if (!too_large) reply.body += piece;
      return !too_large;
    };
    const auto done = Run(requests_, std::move(exchange), [&](const Reply& head) {
      reply = head;
      return true;
    });
    if (!done) return Fail(done.error());
    if (hung_up_.stop_requested()) return Fail(Code::kUnknown, "{}: {}", path, kHungUp);  // the answer may be cut short
    if (too_large) return Fail(Code::kUnknown, "{}: the answer is over {} MiB", path, kMaxBody >> 20);
    return reply;
  }

  // One exchange, with the retries that the header promises.
  Result<> Run(Pool& pool, Exchange exchange, const std::function<bool(const Reply&)>& on_head) {
    if (!IsCleanPath(exchange.path)) return Fail(Code::kInvalid, "path \"{}\" holds a character that must be escaped", exchange.path);
    bool retry_delivery = true, retry_token = true;
    for (;;) {
      auto connection = pool.Acquire(exchange.send_by);
      if (!connection) return Fail(Code::kUnavailable, "{}: all {} connections are busy", What(exchange), config_.max_connections);
      if (hung_up_.stop_requested()) return Fail(Code::kUnavailable, "{}: {}", What(exchange), kHungUp);
      const bool reused = connection->open();
      bool renewed = false;
      exchange.authorization = token_.Header();
      exchange.on_head = [&](const Reply& head) {
        renewed = head.status == 401 && retry_token && token_.Renew(exchange.authorization);
        return !renewed && on_head(head);
      };
      const auto failure = connection->Run(exchange);
      if (renewed) {
        retry_token = false;
      } else if (failure && reused && retry_delivery && MayRepeat(exchange, *failure)) {
        retry_delivery = false;
        connection->Close();
      } else if (failure) {
        return Fail(failure->reached == Reached::kNothing ? Code::kUnavailable : Code::kUnknown, "{}: {}", What(exchange),
                    failure->message);
      } else {
        return {};
      }
    }
  }

  // Whether it is certain that nothing was executed, or (GET) that nothing can come of executing it twice and the caller has seen nothing yet.
  static bool MayRepeat(const Exchange& exchange, const ExchangeFailure& failure) {
    if (failure.timed_out) return false;
    return failure.reached == Reached::kNothing || (failure.reached == Reached::kSent && exchange.method == "GET");
  }

  std::string What(const Exchange& exchange) const { return fmt::format("{} {}{}", exchange.method, config_.server, exchange.path); }

  const ClientConfig config_;
  const Endpoint endpoint_;
  const std::unique_ptr<Tls> tls_;
  TokenSource token_;
  std::stop_source hung_up_;
  Pool requests_, streams_;
};

Code CodeOf(int status) {
  switch (status) {
    case 404: return Code::kNotFound;
    case 409:
    case 410: return Code::kConflict;
    case 429: return Code::kUnavailable;
    default: return status >= 500 ? Code::kUnknown : Code::kInvalid;
  }
}

}  // namespace

Result<std::unique_ptr<Client>> Client::Make(ClientConfig config, const Clock& clock) {
  auto endpoint = ParseEndpoint(config.server);
  if (!endpoint) return Fail(endpoint.error());
  if (config.max_connections < 1) return Fail(Code::kInvalid, "max_connections is {}; at least 1 is needed", config.max_connections);
  std::unique_ptr<Tls> tls;
  if (endpoint->tls) {
    auto made = Tls::Make(config, config.tls_server_name.empty() ? endpoint->host : config.tls_server_name);
    if (!made) return Fail(made.error());
    tls = *std::move(made);
  }
  auto client = std::make_unique<HttpClient>(std::move(config), *std::move(endpoint), std::move(tls), clock);
  if (auto loaded = client->Load(); !loaded) return Fail(loaded.error());
  IgnoreSigpipe();
  return client;
}

std::optional<Error> ErrorOf(const Reply& reply) {
  if (reply.status >= 200 && reply.status < 300) return std::nullopt;
  const auto status = nlohmann::json::parse(reply.body, nullptr, false);
  std::string message;
  if (status.is_object() && status.contains("message") && status["message"].is_string()) message = status["message"].get<std::string>();
  return Error{CodeOf(reply.status),
               message.empty() ? fmt::format("HTTP status {}", reply.status) : fmt::format("{}: {}", reply.status, message)};
}

}  // namespace partage::k8s
