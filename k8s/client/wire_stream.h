// SPDX-License-Identifier: Apache-2.0
// Private to this folder. Includes cpp-httplib: for connection.cc and wire_stream.cc only.
#pragma once

#include <httplib.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "k8s/client/connection.h"

namespace partage::k8s {

/// The bytes of one exchange on a connected socket, in place of cpp-httplib's own stream. It waits in short slices, so that a stop request, the silence
/// bound and the deadline are seen in time; it knows how far the exchange got; and it reads in large pieces. The socket must be non-blocking.
/// Used by one thread.
class WireStream final : public httplib::Stream {
 public:
  /// `buffer` keeps what was read ahead; `before_wait` is called when nothing is left in it, before waiting; false ends the exchange.
  WireStream(int fd, SSL* ssl, const Exchange& exchange, std::vector<char>& buffer, std::function<bool()> before_wait);

  ssize_t read(char* to, std::size_t size) override;
  ssize_t write(const char* from, std::size_t size) override;
  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return fd_; }

  /// The answer's head is complete: its size is no longer bounded.
  void HeadEnded() { head_ended_ = true; }
  /// At least one byte of an answer came.
  bool answered() const { return received_ > 0; }
  /// Why the last read or write failed.
  const std::string& trouble() const { return trouble_; }
  /// It failed because the silence bound or the deadline was met.
  bool timed_out() const { return timed_out_; }

 private:
  enum class Try { kDone, kWantRead, kWantWrite, kFailed };
  Try TryRead(char* to, std::size_t size, ssize_t& got);
  Try TryWrite(const char* from, std::size_t size, ssize_t& put);
  Try FromTls(int result, ssize_t& moved);
  Try FromSocket(ssize_t result, Try again, ssize_t& moved);
  bool InTime();
  void ForgetUnsent();
  bool Wait(Try wanted);
  bool Fill();

  const int fd_;
  SSL* const ssl_;
  const Exchange& exchange_;
  std::vector<char>& buffer_;
  const std::function<bool()> before_wait_;
  std::size_t at_ = 0, end_ = 0;
  std::size_t received_ = 0;
  bool head_ended_ = false, timed_out_ = false;
  std::string trouble_;
};

}  // namespace partage::k8s
