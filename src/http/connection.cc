// SPDX-License-Identifier: Apache-2.0

#include "http/connection.h"

#include <sys/socket.h>

#include <array>
#include <optional>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/status.hpp>

#include "base/log.h"
#include "http/exchange.h"
#include "http/request_parser.h"

namespace partage::http {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

using Strand = asio::strand<asio::io_context::executor_type>;
using Socket = asio::basic_stream_socket<asio::ip::tcp, Strand>;
using TlsStream = asio::ssl::stream<Socket>;

// What a connection asks of its stream beyond Asio's stream concepts.
Socket& LowestLayer(Socket& socket) { return socket; }
Socket& LowestLayer(TlsStream& stream) { return stream.next_layer(); }
template <class Ready>
void Handshake(Socket&, Ready ready) {
  ready(error_code{});
}
template <class Ready>
void Handshake(TlsStream& stream, Ready ready) {
  stream.async_handshake(TlsStream::server, std::move(ready));
}
// Tells the client that the last answer was whole.
template <class Done>
void SayGoodbye(Socket&, Done done) {
  done(error_code{}, 0);
}
template <class Done>
void SayGoodbye(TlsStream& stream, Done done) {
  stream.async_shutdown([done = std::move(done)](const error_code& ec) { done(ec, 0); });
}

constexpr std::size_t kHeaderRead = 4096;  // a client's first segment; the rest of a large body goes straight into its own buffer
constexpr std::size_t kChunkRead = 64u << 10;
constexpr milliseconds kLinger{2000};
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

/// Asio hands large buffers to the kernel in pieces of 64 KiB by default.
struct InOneGo {
  std::size_t operator()(const error_code& ec, std::size_t) const { return ec ? 0 : std::size_t{1} << 30; }
};

std::string HeaderOf(const Response& response, bool close, std::string_view more) {
  const auto reason = boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(static_cast<unsigned>(response.status)));
  return fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}{}\r\n", response.status,
                     std::string_view(reason.data(), reason.size()), response.content_type, response.body.size(), more,
                     close ? "Connection: close\r\n" : "");
}

/// A connection over any stream. Everything but Tell and Deliver runs on the stream's strand, so members need no lock.
template <class Stream>
class StreamConnection final : public Connection, public std::enable_shared_from_this<StreamConnection<Stream>> {
 public:
  StreamConnection(std::shared_ptr<ServerContext> context, Stream stream) : context_(std::move(context)), stream_(std::move(stream)) {}

  void Start() override {
    EnterFor(Phase::kHeader, options().header_timeout);
    asio::dispatch(stream_.get_executor(), [self = this->shared_from_this()] {
      Handshake(self->stream_, [self](const error_code& ec) { self->OnHandshake(ec); });
    });
  }

  void Tell(Order order) override {
    asio::post(stream_.get_executor(), [self = this->shared_from_this(), order] { self->Obey(order); });
  }

 private:
  using Self = StreamConnection;
  using Step = void (Self::*)(std::size_t);

  const ServerOptions& options() const { return context_->options; }
  void EnterFor(Phase phase, milliseconds limit) { Enter(phase, steady_clock::now() + limit); }

  /// A completion handler: closes on failure, else continues with `step`.
  auto Then(Step step) {
    return [self = this->shared_from_this(), step](const error_code& ec, std::size_t size) {
      if (self->phase() == Phase::kClosed) return;
      self->Guarded([&] {
        if (self->timed_out_) return self->RefuseSlow();
        ec ? self->Close() : ((*self).*step)(size);
      });
    };
  }

  /// A fault while serving one connection, such as memory running out, ends that connection and nothing else.
  template <class Action>
  void Guarded(Action action) {
    try {
      action();
    } catch (const std::exception& e) {
      log::error("a connection is closed for a fault of the server: {}", e.what());
      Close();
    }
  }

  void OnHandshake(const error_code& ec) {
    if (ec && context_->tls) context_->tls->OnHandshakeFailure(ec.message());
    established_ = !ec;
    Then (&Self::OnReady)(ec, 0);
  }

  void OnReady(std::size_t) { NextRequest(); }

  void NextRequest() {
    if (context_->draining) return Close();
    parser_.emplace(options().max_body, body_);
    if (input_.size() > 0) return ReadPipelined();
    if (input_.capacity() > kHeaderRead) input_.shrink_to_fit();
    EnterFor(Phase::kIdle, options().idle_timeout);
    ReadMore(kHeaderRead, &Self::OnHeaderBytes);
  }

  void ReadPipelined() {
    EnterFor(Phase::kHeader, options().header_timeout);
    ParseHeader();
  }

  void ReadMore(std::size_t size, Step step) { stream_.async_read_some(input_.prepare(size), Then(step)); }

  void OnHeaderBytes(std::size_t size) {
    input_.commit(size);
    if (phase() == Phase::kIdle) EnterFor(Phase::kHeader, options().header_timeout);
    ParseHeader();
  }

  void ParseHeader() {
    Parse();
    if (parser_->refusal()) return Refuse(*parser_->refusal());
    if (!parser_->head_done()) return ReadMore(kHeaderRead, &Self::OnHeaderBytes);
    OnHead(parser_->head());
  }

  void Parse() {
    const auto bytes = input_.cdata();
    input_.consume(parser_->Put({static_cast<const char*>(bytes.data()), bytes.size()}));
  }

  void OnHead(const Head& head) {
    keep_alive_ = head.keep_alive;
    without_body_ = head.method == "HEAD";
    const auto found = context_->router.Find(head.method, SplitTarget(head.target).path);
    if (!found) return NoRoute(found.error());
    handler_ = *found;
    EnterFor(Phase::kBody, options().body_timeout);
    body_ = context_->bodies.Take();
    if (!head.chunked) BeginBody(head.content_length);
    const bool waits = head.expects_continue && head.has_body() && input_.size() == 0 && received_ == 0;
    waits ? SendContinue() : ReadBody(0);
  }

  void NoRoute(const Refusal& refusal) {
    if (parser_->head().has_body()) return Refuse(refusal);
    Reply(ErrorResponse(refusal.status, refusal.text), refusal.headers);
  }

  /// What came along with the header is copied, the rest received in place.
  void BeginBody(std::size_t size) {
    body_.Reset(size);
    received_ = asio::buffer_copy(asio::buffer(body_.data(), size), input_.cdata());
    input_.consume(received_);
  }

  void SendContinue() { asio::async_write(stream_, asio::buffer(kContinue), Then(&Self::ReadBody)); }

  void ReadBody(std::size_t) { parser_->head().chunked ? ParseChunks() : ReadRest(); }

  void ReadRest() {
    if (received_ == body_.size()) return Handle();
    stream_.async_read_some(asio::buffer(body_.data() + received_, body_.size() - received_), Then(&Self::OnBodyBytes));
  }

  void OnBodyBytes(std::size_t size) {
    received_ += size;
    ReadRest();
  }

  void OnChunkBytes(std::size_t size) {
    input_.commit(size);
    ParseChunks();
  }

  void ParseChunks() {
    Parse();
    if (parser_->refusal()) return Refuse(*parser_->refusal());
    parser_->done() ? Handle() : ReadMore(kChunkRead, &Self::OnChunkBytes);
  }

  void Handle() {
    Enter(Phase::kHandling, TimePoint::max());
    received_ = 0;
    Run(*handler_, std::make_shared<Exchange>(parser_->TakeHead(), std::move(body_), Deliverer()));
  }

  /// Runs inline when the handler answers before it returns, else on the strand when somebody has answered.
  Exchange::Deliver Deliverer() {
    return [weak = this->weak_from_this()](Response response, Body body) {
      auto self = weak.lock();
      if (!self) return;
      asio::dispatch(self->stream_.get_executor(), [weak, response = std::move(response), body = std::move(body)]() mutable {
        if (auto self = weak.lock()) self->OnAnswer(std::move(response), std::move(body));
      });
    };
  }

  void OnAnswer(Response response, Body body) {
    context_->bodies.Give(std::move(body));
    if (phase() != Phase::kHandling) return;
    Guarded([&] { Reply(std::move(response), {}); });
  }

  void Reply(Response response, std::string_view more_headers) {
    reply_ = std::move(response);
    EnterFor(Phase::kWriting, options().body_timeout * static_cast<int>(1 + (reply_.body.size() >> 20)));
    keep_alive_ = keep_alive_ && !context_->draining && !reply_.close;
    header_ = HeaderOf(reply_, !keep_alive_, more_headers);
    if (without_body_) reply_.body.clear();
    const std::array<asio::const_buffer, 2> pieces = {asio::buffer(header_), asio::buffer(reply_.body)};
    asio::async_write(stream_, pieces, InOneGo{}, Then(&Self::OnWritten));
  }

  void OnWritten(std::size_t) {
    reply_ = {};
    if (keep_alive_) return NextRequest();
    unread_ ? Linger() : Part();
  }

  void Part() {
    EnterFor(Phase::kLingering, kLinger);
    SayGoodbye(stream_, Then(&Self::OnParted));
  }

  void OnParted(std::size_t) { Close(); }

  /// Answers although the request was not read to its end, which is therefore the last on this connection.
  void Refuse(const Refusal& refusal) {
    keep_alive_ = false;
    unread_ = true;
    Reply(ErrorResponse(refusal.status, refusal.text), refusal.headers);
  }

  void RefuseSlow() {
    timed_out_ = false;
    const bool in_header = phase() == Phase::kHeader;
    const auto limit = in_header ? options().header_timeout : options().body_timeout;
    Refuse({408, fmt::format("the request's {} did not arrive within {} ms", in_header ? "header" : "body", limit.count()), {}});
  }

  void Linger() {
    EnterFor(Phase::kLingering, kLinger);
    error_code ignored;
    LowestLayer(stream_).shutdown(Socket::shutdown_send, ignored);
    Discard(0);
  }

  void Discard(std::size_t) {
    input_.clear();
    ReadMore(kHeaderRead, &Self::Discard);
  }

  void Obey(Order order) {
    if (phase() == Phase::kClosed) return;
    if (order == Order::kExpire) return Expire();
    if (order == Order::kAbort) return Close();
    // Fails the read and so closes, unless bytes have just been read: then a request has begun, and is served.
    if (phase() == Phase::kIdle) CancelWait();
  }

  void CancelWait() {
    error_code ignored;
    LowestLayer(stream_).cancel(ignored);
  }

  void Expire() {
    if (deadline() > steady_clock::now()) return;
    const bool answerable = established_ && (phase() == Phase::kHeader || phase() == Phase::kBody);
    if (!answerable || timed_out_) return Close();
    timed_out_ = true;
    EnterFor(phase(), kLinger);
    CancelWait();
  }

  void Close() {
    Enter(Phase::kClosed, TimePoint::max());
    error_code ignored;
    LowestLayer(stream_).close(ignored);
    context_->connections.Remove(this);
  }

  const std::shared_ptr<ServerContext> context_;  // first: the stream must not outlive its io_context
  Stream stream_;
  boost::beast::flat_buffer input_;  // bytes of headers, chunks and pipelined requests
  Body body_;
  std::optional<RequestParser> parser_;
  const Handler* handler_ = nullptr;
  Response reply_;
  std::string header_;
  std::size_t received_ = 0;  // of body_
  bool established_ = false;  // the handshake is done: the client can be answered
  bool keep_alive_ = true;
  bool without_body_ = false;  // HEAD: the answer's body is announced but not sent
  bool unread_ = false;
  bool timed_out_ = false;
};

asio::ip::tcp FamilyOf(int socket) {
  int family = AF_INET;
  socklen_t size = sizeof family;
  ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return family == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4();
}

}  // namespace

ServerContext::ServerContext(ServerOptions server_options)
    : options(std::move(server_options)),
      tls(options.tls ? std::make_unique<TlsFiles>(*options.tls) : nullptr),
      io(std::make_unique<asio::io_context>(options.threads)) {}

ServerContext::~ServerContext() = default;

std::shared_ptr<Connection> MakeConnection(std::shared_ptr<ServerContext> context, int socket) {
  Socket stream(asio::make_strand(*context->io), FamilyOf(socket), socket);
  error_code ignored;
  stream.set_option(asio::ip::tcp::no_delay(true), ignored);
  if (!context->tls) return std::make_shared<StreamConnection<Socket>>(std::move(context), std::move(stream));
  TlsStream secured(std::move(stream), *context->tls->context());
  return std::make_shared<StreamConnection<TlsStream>>(std::move(context), std::move(secured));
}

}  // namespace partage::http
