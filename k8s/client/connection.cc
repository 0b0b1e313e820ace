// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/connection.h"

#include <fcntl.h>
#include <poll.h>

#include <charconv>

#include "k8s/client/wire_stream.h"

namespace partage::k8s {
namespace {

constexpr std::size_t kBatch = 64 * 1024;

std::chrono::milliseconds RetryAfter(const httplib::Response& response) {
  const auto text = response.get_header_value("Retry-After");
  unsigned seconds = 0;
  // The other form, a date, is not used by API servers.
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return std::chrono::seconds(std::min(seconds, 3600u));
}

std::string_view Phase(httplib::Error error) {
  switch (error) {
    case httplib::Error::SSLConnection: return "TLS handshake failed";
    case httplib::Error::Write: return "the request could not be sent";
    case httplib::Error::Read: return "no whole answer came";
    default: return "the exchange failed";
  }
}

// Collects the pieces of a body and hands them on when nothing more has arrived, or enough has.
class Batch {
 public:
  explicit Batch(const Exchange& exchange) : exchange_(exchange) {}

  bool Add(std::string_view piece) {
    pending_ += piece;
    return pending_.size() < kBatch || Flush();
  }
  bool Flush() {
    if (exchange_.stop.stop_requested()) ended_ = true;
    if (!ended_ && !pending_.empty()) ended_ = !exchange_.on_data(pending_);
    pending_.clear();
    return !ended_;
  }
  void End() { ended_ = true; }
  bool ended() const { return ended_; }

 private:
  const Exchange& exchange_;
  std::string pending_;
  bool ended_ = false;
};

// Base is httplib::ClientImpl or httplib::SSLClient, which speak HTTP and do the handshake; connecting and the transport are ours, through the two
// functions cpp-httplib lets a subclass replace.
template <class Base>
class HttpConnection final : public Connection, private Base {
 public:
  HttpConnection(const Endpoint& endpoint, Tls* tls, std::chrono::milliseconds connect_timeout)
      : Base(tls == nullptr ? endpoint.host : tls->ServerNameIndication(), endpoint.port),
        endpoint_(endpoint),
        tls_(tls),
        connect_timeout_(connect_timeout) {
    this->set_keep_alive(true);
    this->set_url_encode(false);
    this->set_connection_timeout(connect_timeout);  // for the handshake
    // OpenSSL itself verifies during the handshake, by the rules that Tls sets; cpp-httplib's own check comes after and is weaker.
    this->enable_server_certificate_verification(false);
  }

  std::optional<ExchangeFailure> Run(const Exchange& exchange) override {
    Batch batch(exchange);
    running_ = {.exchange = &exchange, .batch = &batch};
    auto request = RequestOf(exchange);
    httplib::Response response;
    auto error = httplib::Error::Success;
    const bool ended_well = this->send(request, response, error) && batch.Flush();
    if (ended_well && response.status == 204) exchange.on_head(HeadOf(response));  // cpp-httplib skips the handlers of an empty answer
    const bool enough = batch.ended() || exchange.stop.stop_requested();
    if (enough) Close();
    if (ended_well || enough) return std::nullopt;
    return Failure(error);
  }

  bool open() const override { return this->socket_.is_open(); }

  void CloseIfStale() override {
    if (!open()) return;
    pollfd state{this->socket_.sock, POLLIN | POLLRDHUP, 0};
    if (::poll(&state, 1, 0) != 0) Close();
  }

  void Close() override { this->stop(); }

 private:
  using Socket = typename Base::Socket;

  // What the functions below need of the exchange in progress.
  struct Running {
    const Exchange* exchange = nullptr;
    Batch* batch = nullptr;
    WireStream* stream = nullptr;
    bool answered = false, timed_out = false;
    std::string trouble;
  };

  httplib::Request RequestOf(const Exchange& exchange) {
    httplib::Request request;
    request.method = exchange.method;
    request.path = endpoint_.prefix + exchange.path;
    request.body = exchange.body;
    request.headers = {{"Host", endpoint_.Authority()}, {"Accept", "application/json"}, {"User-Agent", "partage"}};
    if (!exchange.content_type.empty()) request.headers.emplace("Content-Type", exchange.content_type);
    if (!exchange.authorization.empty()) request.headers.emplace("Authorization", exchange.authorization);
    request.response_handler = [this](const httplib::Response& response) {
      running_.stream->HeadEnded();
      if (!running_.exchange->on_head(HeadOf(response))) running_.batch->End();
      return !running_.batch->ended();
    };
    request.content_receiver = [this](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
      return running_.batch->Add(std::string_view(data, size));
    };
    return request;
  }

  static Reply HeadOf(const httplib::Response& response) { return {response.status, {}, RetryAfter(response)}; }

  bool create_and_connect_socket(Socket& socket, httplib::Error& error) override {
    if constexpr (std::is_base_of_v<httplib::SSLClient, Base>) tls_->Apply(this->ssl_context());
    const auto fd = Dial(endpoint_, connect_timeout_, running_.exchange->stop);
    if (fd) {
      socket.sock = *fd;
    } else {
      running_.trouble = fd.error().message;
      error = httplib::Error::Connection;
    }
    return fd.has_value();
  }

  bool process_socket(const Socket& socket, std::function<bool(httplib::Stream&)> callback) override {
    ::fcntl(socket.sock, F_SETFL, O_RDWR | O_NONBLOCK);  // cpp-httplib makes it blocking after a handshake
    WireStream stream(socket.sock, socket.ssl, *running_.exchange, read_ahead_, [this] { return running_.batch->Flush(); });
    running_.stream = &stream;
    const bool done = callback(stream);
    running_.answered = stream.answered();
    running_.timed_out = stream.timed_out();
    running_.trouble = stream.trouble();
    running_.stream = nullptr;
    return done;
  }

  ExchangeFailure Failure(httplib::Error error) {
    auto why = running_.trouble;
    if (error == httplib::Error::SSLConnection) why = Tls::TakeHandshakeError();
    // Read means that every byte of the request was handed to the kernel. Everything else happened before: while connecting, or (Write) with the last byte
    // still here, and a request without its last byte is never executed.
    const auto reached = error != httplib::Error::Read ? Reached::kNothing : running_.answered ? Reached::kAnswered : Reached::kSent;
    if (error == httplib::Error::Connection) return {reached, false, why};
    return {reached, running_.timed_out, fmt::format("{}: {}", Phase(error), why.empty() ? "the server closed the connection" : why)};
  }

  const Endpoint endpoint_;
  Tls* const tls_;
  const std::chrono::milliseconds connect_timeout_;
  std::vector<char> read_ahead_;
  Running running_;
};

}  // namespace

std::unique_ptr<Connection> Connection::Make(const Endpoint& endpoint, Tls* tls, std::chrono::milliseconds connect_timeout) {
  if (tls != nullptr) return std::make_unique<HttpConnection<httplib::SSLClient>>(endpoint, tls, connect_timeout);
  return std::make_unique<HttpConnection<httplib::ClientImpl>>(endpoint, tls, connect_timeout);
}

}  // namespace partage::k8s
