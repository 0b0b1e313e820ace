// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/pod_uid.h"

#include <openssl/evp.h>

namespace partage::scheduler {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

bool IsDash(std::size_t place) { return place == 8 || place == 13 || place == 18 || place == 23; }

bool ParseCanonical(std::string_view text, std::array<std::uint8_t, 16>& bytes) {
  if (text.size() != 36) return false;
  std::size_t digit = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (IsDash(i)) {
      if (text[i] != '-') return false;
      continue;
    }
    const auto value = kHex.find(text[i]);
    if (value == std::string_view::npos) return false;
    auto& byte = bytes[digit / 2];
    byte = static_cast<std::uint8_t>(digit % 2 == 0 ? value << 4 : byte | value);
    ++digit;
  }
  return true;
}

}  // namespace

PodUid::PodUid(std::string_view text) {
  if (ParseCanonical(text, bytes_)) return;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::memcpy(bytes_.data(), digest.data(), bytes_.size());
}

std::string PodUid::ToString() const {
  std::string text;
  text.reserve(36);
  for (const std::uint8_t byte : bytes_) {
    if (IsDash(text.size())) text += '-';
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

}  // namespace partage::scheduler
