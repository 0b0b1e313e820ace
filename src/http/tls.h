// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "http/server.h"

namespace boost::asio::ssl {
class context;
}

namespace partage::http {

/// A server's certificate, key and client authorities as they stand in their files, renewed when the files change. Where the options name names, the files hold
/// an authority, and certificates are issued by it and renewed before they end. Thread-safe.
///
/// Texts are compared, not time stamps: a writer may replace a file or write into it, and the clocks of file systems are coarse. New connections use what was
/// last found good; open ones go on with what they began with.
class TlsFiles {
 public:
  explicit TlsFiles(TlsOptions options);
  ~TlsFiles();

  /// Reads the files; once, before anything else. kInvalid or kNotFound names the file and the fault. A certificate out of date is used, with a warning.
  Result<> Load();
  /// Reads them again. What cannot be used, or is out of date while the certificate in use is not, changes nothing; it is logged and told once, when it
  /// is found a second time in a row.
  /// Called by one thread at a time.
  void Refresh();
  /// For the next connection. REQUIRES: Load has succeeded.
  std::shared_ptr<boost::asio::ssl::context> context() const;
  /// A client did not get through its handshake.
  void OnHandshakeFailure(const std::string& why) const;

 private:
  struct Texts {
    std::string certificate, key, client_ca;
    bool operator==(const Texts&) const = default;
  };
  struct Loaded;

  Result<Texts> Read() const;
  Result<Loaded> Make(const Texts& texts) const;
  Result<Loaded> Issue(const Texts& texts) const;
  Result<> Renew(const Texts& texts);
  bool IssueIsDue() const;
  void Use(Texts texts, Loaded loaded);
  void OnFault(const std::string& fault);
  void Tell(TlsEvent event) const;

  const TlsOptions options_;
  Texts used_;
  std::string last_fault_;
  bool told_ = false;  // of last_fault_: at its second sight, for at the first a file may be half written
  std::chrono::system_clock::time_point valid_from_, valid_until_;
  std::chrono::system_clock::time_point authority_until_;  // no later certificate can be issued; with names only
  mutable Mutex mutex_;
  std::shared_ptr<boost::asio::ssl::context> context_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::http
