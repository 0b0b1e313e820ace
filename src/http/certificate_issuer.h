// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace partage::http {

/// A server's certificate and key as PEM texts.
struct IssuedCertificate {
  std::string certificate;  ///< its own first, then the authority's
  std::string key;
  std::chrono::system_clock::time_point authority_until;  ///< a later certificate of the same authority ends here at the latest
};

/// Makes a key, and a certificate for it that the authority signs: for servers only, for `names` (DNS names and IP addresses), good from an hour ago (clocks
/// differ) until `lifetime` from now or the authority's own end, whichever comes first.
/// kInvalid says which of `authority` and `authority_key` (PEM texts) cannot be used, that they do not belong together, that the certificate may sign none, or
/// which name can be none.
Result<IssuedCertificate> IssueServerCertificate(const std::string& authority, const std::string& authority_key,
                                                 const std::vector<std::string>& names, std::chrono::seconds lifetime);

}  // namespace partage::http
