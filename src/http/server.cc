// SPDX-License-Identifier: Apache-2.0

#include "http/server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"
#include "http/connection.h"

namespace partage::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

using Strand = asio::strand<asio::io_context::executor_type>;
using Acceptor = asio::basic_socket_acceptor<tcp, Strand>;

constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 52\r\n\r\n"
    "{\"error\":\"too many connections are open; try later\"}";

std::string_view Hint(const error_code& ec) {
  if (ec == asio::error::address_in_use) return "; stop the program that listens there, or choose another port";
  if (ec == asio::error::access_denied) return "; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE), choose a higher one";
  return "";
}

/// Opens, binds and listens.
error_code Listen(Acceptor& acceptor, const tcp::endpoint& endpoint) {
  error_code ec;
  if (acceptor.open(endpoint.protocol(), ec)) return ec;
  acceptor.set_option(asio::socket_base::reuse_address(true), ec);
  acceptor.non_blocking(true, ec);
  if (endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(false), ec);
  if (!acceptor.bind(endpoint, ec) && !acceptor.listen(asio::socket_base::max_listen_connections, ec)) return ec;
  error_code ignored;
  acceptor.close(ignored);
  return ec;
}

/// IPv6's "all addresses" takes IPv4 in as well, where the machine has IPv6.
std::vector<tcp::endpoint> Candidates(asio::io_context& io, const ServerOptions& options, error_code& ec) {
  if (options.host.empty()) return {tcp::endpoint(tcp::v6(), options.port), tcp::endpoint(tcp::v4(), options.port)};
  const auto found = tcp::resolver(io).resolve(options.host, std::to_string(options.port), tcp::resolver::passive, ec);
  return {found.begin(), found.end()};
}

/// How often deadlines, and certificates, are looked at: an eighth of the shortest deadline, so that none is passed by much.
milliseconds SweepInterval(const ServerOptions& options) {
  const auto shortest = std::min({options.header_timeout, options.body_timeout, options.idle_timeout});
  const auto interval = std::clamp(shortest / 8, milliseconds(5), milliseconds(500));
  return options.tls ? std::min(interval, options.tls->reload_interval) : interval;
}

constexpr std::size_t kMostTlsConnections = 1024;  // each takes over 100 KiB from its first byte on

ServerOptions Sane(ServerOptions options) {
  if (options.tls) options.max_connections = std::min(options.max_connections, kMostTlsConnections);
  options.threads = std::max(options.threads, 1);
  options.max_connections = std::max<std::size_t>(options.max_connections, 1);
  return options;
}

}  // namespace

/// Accepting and sweeping run on one strand.
class Server::Impl {
 public:
  explicit Impl(ServerOptions options)
      : context_(std::make_shared<ServerContext>(Sane(std::move(options)))),
        strand_(asio::make_strand(*context_->io)),
        acceptor_(strand_),
        sweep_(strand_),
        work_(asio::make_work_guard(*context_->io)) {}

  void Route(std::string method, std::string path, Handler handler) {
    PARTAGE_CHECK(threads_.empty(), "routes are added before Start");
    context_->router.Add(std::move(method), std::move(path), std::move(handler));
  }

  Result<> Start() {
    PARTAGE_CHECK(threads_.empty(), "a server is started once");
    if (context_->tls) {
      if (auto loaded = context_->tls->Load(); !loaded) return loaded;
    }
    if (auto bound = Bind(); !bound) return bound;
    port_ = acceptor_.local_endpoint().port();
    asio::post(strand_, [this] { Accept(); });
    asio::post(strand_, [this] { Sweep(); });
    for (int i = 0; i < options().threads; ++i) threads_.emplace_back([this] { RunIo(); });
    return {};
  }

  std::uint16_t port() const { return port_; }

  void Stop(milliseconds grace) {
    MutexLock lock(stopping_);
    if (threads_.empty() || context_->draining) return;
    context_->draining = true;
    asio::post(strand_, [this] { CloseAcceptor(); });
    context_->connections.TellAll(Connection::Order::kCloseIfIdle);
    context_->connections.WaitEmpty(steady_clock::now() + grace);
    asio::post(strand_, [this] { Finish(); });
    work_.reset();
    for (auto& thread : threads_) thread.join();
  }

 private:
  const ServerOptions& options() const { return context_->options; }

  Result<> Bind() {
    error_code ec;
    const auto candidates = Candidates(*context_->io, options(), ec);
    const auto name = fmt::format("{}:{}", options().host, options().port);
    if (candidates.empty()) return Fail(Code::kInvalid, "listen on {}: {}", name, ec.message());
    for (const auto& endpoint : candidates) {
      ec = Listen(acceptor_, endpoint);
      if (!ec) return {};
    }
    return Fail(Code::kUnavailable, "listen on {}: {}{}", name, ec.message(), Hint(ec));
  }

  /// An exception here is a fault of ours that no connection could be blamed for; the others go on.
  void RunIo() {
    for (bool again = true; again;) {
      try {
        context_->io->run();
        again = false;
      } catch (const std::exception& e) {
        log::critical("http server: {}", e.what());
      }
    }
  }

  void Accept() {
    if (!acceptor_.is_open()) return;
    acceptor_.async_wait(Acceptor::wait_read, [this](const error_code& ec) {
      if (ec) return;
      // Out of descriptors: asking again at once would spin, so the next sweep asks.
      accept_paused_ = !AcceptPending();
      if (!accept_paused_) Accept();
    });
  }

  /// Takes what waits, a bounded number for the sweep's sake. False when the process or the machine has no descriptor left.
  bool AcceptPending() {
    for (int i = 0; i < 64; ++i) {
      const int socket = ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      const int error = errno;
      if (socket < 0 && (error == ECONNABORTED || error == EINTR)) continue;
      if (socket < 0) return error == EAGAIN || !SomebodyWaits() || CannotAccept(error);
      Serve(socket);
    }
    return true;
  }

  /// Without a free descriptor accept4 fails before it looks whether there is anything to accept.
  bool SomebodyWaits() {
    pollfd listener{acceptor_.native_handle(), POLLIN, 0};
    return ::poll(&listener, 1, 0) > 0;
  }

  bool CannotAccept(int error) {
    log::warn("port {}: cannot accept connections: {}; closing idle ones", port_, std::generic_category().message(error));
    MakeRoom();
    return false;
  }

  void Serve(int socket) {
    if (context_->connections.size() >= options().max_connections && !MakeRoom()) return TurnAway(socket);
    auto connection = MakeConnection(context_, socket);
    context_->connections.Add(connection);
    connection->Start();
  }

  /// Closes some connections at once, for finding the oldest takes a pass over all: idle ones, and with TLS, where few may be open, before them those that have
  /// been in a handshake or header for longer than who means it needs, and after them those that have just begun. False when there are none.
  bool MakeRoom() {
    using Order = Connection::Order;
    auto& connections = context_->connections;
    const auto some = 1 + options().max_connections / 64;
    const auto dawdling = steady_clock::now() + options().header_timeout - options().header_timeout / 20;
    return (context_->tls && connections.TellOldest(Phase::kHeader, Order::kAbort, some, dawdling) > 0) ||
           connections.TellOldest(Phase::kIdle, Order::kCloseIfIdle, some) > 0 ||
           (context_->tls && connections.TellOldest(Phase::kHeader, Order::kAbort, some) > 0);
  }

  void TurnAway(int socket) const {
    // In the middle of a handshake words would only be taken for a fault of the line.
    [[maybe_unused]] const auto sent = context_->tls ? 0 : ::send(socket, kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ::close(socket);
  }

  void Sweep() {
    context_->connections.TellExpired(steady_clock::now());
    if (context_->tls) context_->tls->Refresh();
    if (std::exchange(accept_paused_, false)) Accept();
    sweep_.expires_after(SweepInterval(options()));
    sweep_.async_wait([this](const error_code& ec) {
      if (!ec && !finished_) Sweep();
    });
  }

  void CloseAcceptor() {
    error_code ignored;
    acceptor_.close(ignored);
  }

  /// On the strand, like Serve, so that no connection is missed.
  void Finish() {
    finished_ = true;
    sweep_.cancel();
    context_->connections.TellAll(Connection::Order::kAbort);
  }

  const std::shared_ptr<ServerContext> context_;
  Strand strand_;
  Acceptor acceptor_;
  asio::basic_waitable_timer<steady_clock, asio::wait_traits<steady_clock>, Strand> sweep_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::uint16_t port_ = 0;
  bool accept_paused_ = false, finished_ = false;
  Mutex stopping_;
  std::vector<std::jthread> threads_;
};

Server::Server(ServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Server::~Server() { Stop(milliseconds(0)); }

void Server::Route(std::string method, std::string path, Handler handler) {
  impl_->Route(std::move(method), std::move(path), std::move(handler));
}

Result<> Server::Start() { return impl_->Start(); }

std::uint16_t Server::port() const { return impl_->port(); }

void Server::Stop(milliseconds grace) { impl_->Stop(grace); }

}  // namespace partage::http
