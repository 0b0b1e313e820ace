// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace partage::scheduler {

/// A pod's UID in 16 bytes: the UUID itself when the text is one in canonical form (as the API server writes it), else a 128-bit digest of the text.
/// Immutable value.
class PodUid {
 public:
  PodUid() = default;
  explicit PodUid(std::string_view text);
  /// Canonical UUID text.
  std::string ToString() const;
  bool operator==(const PodUid&) const = default;

  struct Hash {
    std::size_t operator()(const PodUid& uid) const {
      std::uint64_t words[2];
      std::memcpy(words, uid.bytes_.data(), sizeof words);
      return static_cast<std::size_t>((words[0] ^ (words[1] >> 7)) * 0x9E3779B97F4A7C15u);
    }
  };

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

}  // namespace partage::scheduler
