// SPDX-License-Identifier: Apache-2.0
// What every reader of keys and certificates needs of OpenSSL.
#pragma once

namespace partage {

/// For unique_ptr: std::unique_ptr<X509, OpensslFree<X509_free>>.
template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

/// The passphrase callback of keys that must have none: OpenSSL's own would ask the terminal.
inline int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*unused*/) { return 0; }

}  // namespace partage
