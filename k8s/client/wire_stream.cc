// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/wire_stream.h"

#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace partage::k8s {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kReadAhead = 64 * 1024;  // one system call where cpp-httplib's own stream needs sixteen
constexpr std::size_t kMaxHead = 1 << 20;

}  // namespace

WireStream::WireStream(int fd, SSL* ssl, const Exchange& exchange, std::vector<char>& buffer, std::function<bool()> before_wait)
    : fd_(fd), ssl_(ssl), exchange_(exchange), buffer_(buffer), before_wait_(std::move(before_wait)) {
  buffer_.resize(kReadAhead);
}

ssize_t WireStream::read(char* to, std::size_t size) {
  if (at_ == end_ && !Fill()) return trouble_.empty() ? 0 : -1;
  const auto n = std::min(size, end_ - at_);
  std::memcpy(to, buffer_.data() + at_, n);
  at_ += n;
  return static_cast<ssize_t>(n);
}

// False at the end of the stream (trouble_ is empty then) and on failure.
bool WireStream::Fill() {
  for (;;) {
    ssize_t got = 0;
    const auto outcome = TryRead(buffer_.data(), buffer_.size(), got);
    if (outcome == Try::kFailed) return false;
    if (outcome == Try::kDone) {
      at_ = 0;
      end_ = static_cast<std::size_t>(got);
      received_ += end_;
      if (!head_ended_ && received_ > kMaxHead) trouble_ = "the answer's headers are over 1 MiB";
      return got > 0 && trouble_.empty();
    }
    if (!before_wait_()) {
      trouble_ = "ended by the receiver";
      return false;
    }
    if (!Wait(outcome)) return false;
  }
}

ssize_t WireStream::write(const char* from, std::size_t size) {
  for (;;) {
    ssize_t put = 0;
    const auto outcome = InTime() ? TryWrite(from, size, put) : Try::kFailed;
    if (outcome == Try::kDone) return put;
    if (outcome != Try::kFailed && Wait(outcome)) continue;
    // A record that is half on its way must not be completed by the goodbye of the TLS shutdown: a request that failed here was not sent.
    if (ssl_ != nullptr) SSL_set_quiet_shutdown(ssl_, 1);
    return -1;
  }
}

// What the kernel still holds of a request that was given up must not reach the server when the network comes back: the close becomes a reset.
void WireStream::ForgetUnsent() {
  const linger at_once{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

// Looked at right before each piece is sent: the process may have been stopped since the request was begun.
bool WireStream::InTime() {
  if (SteadyClock::now() < exchange_.send_by) return true;
  timed_out_ = true;
  ForgetUnsent();
  trouble_ = "too late to be sent";
  return false;
}

WireStream::Try WireStream::TryRead(char* to, std::size_t size, ssize_t& got) {
  if (ssl_ == nullptr) return FromSocket(::recv(fd_, to, size, 0), Try::kWantRead, got);
  ERR_clear_error();
  return FromTls(SSL_read(ssl_, to, static_cast<int>(size)), got);
}

WireStream::Try WireStream::TryWrite(const char* from, std::size_t size, ssize_t& put) {
  if (ssl_ == nullptr) return FromSocket(::send(fd_, from, size, MSG_NOSIGNAL), Try::kWantWrite, put);
  ERR_clear_error();
  return FromTls(SSL_write(ssl_, from, static_cast<int>(std::min<std::size_t>(size, 1 << 30))), put);
}

WireStream::Try WireStream::FromSocket(ssize_t result, Try again, ssize_t& moved) {
  moved = result;
  if (result >= 0) return Try::kDone;
  if (errno == EAGAIN || errno == EINTR) return again;
  trouble_ = std::generic_category().message(errno);
  return Try::kFailed;
}

WireStream::Try WireStream::FromTls(int result, ssize_t& moved) {
  moved = result;
  if (result > 0) return Try::kDone;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ: return Try::kWantRead;
    case SSL_ERROR_WANT_WRITE: return Try::kWantWrite;
    case SSL_ERROR_ZERO_RETURN: moved = 0; return Try::kDone;
    case SSL_ERROR_SYSCALL:
      trouble_ = errno == 0 ? "the connection ended without a TLS goodbye" : std::generic_category().message(errno);
      break;
    default: {
      const auto* reason = ERR_reason_error_string(ERR_peek_error());
      trouble_ = fmt::format("TLS: {}", reason == nullptr ? "protocol error" : reason);
    }
  }
  return Try::kFailed;
}

bool WireStream::Wait(Try wanted) {
  const auto started = SteadyClock::now();
  const auto silence_ends = exchange_.idle.count() == 0 ? SteadyClock::time_point::max() : started + exchange_.idle;
  const auto ends = std::min(silence_ends, exchange_.deadline);
  for (;;) {
    const auto now = SteadyClock::now();
    if (exchange_.stop.stop_requested()) {
      if (exchange_.send_by != SteadyClock::time_point::max()) ForgetUnsent();
      trouble_ = "stopped";
      return false;
    }
    if (now >= ends) {
      timed_out_ = true;
      ForgetUnsent();
      trouble_ = fmt::format("nothing for {} ms", std::chrono::duration_cast<milliseconds>(now - started).count());
      return false;
    }
    const auto slice = std::min<SteadyClock::duration>(ends - now, kStopLook);
    pollfd ready{fd_, static_cast<short>(wanted == Try::kWantRead ? POLLIN : POLLOUT), 0};
    if (::poll(&ready, 1, static_cast<int>(std::chrono::ceil<milliseconds>(slice).count())) > 0) return true;
  }
}

}  // namespace partage::k8s
