// SPDX-License-Identifier: Apache-2.0
#include "shm/size.h"

namespace partage::shm {
namespace {

constexpr std::uint64_t kTooMuch = 1ull << 63;
constexpr unsigned kMostDecimals = 9;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Digits without a leading zero; stops at the first other character. False when there are none, or they reach kTooMuch.
bool TakeWhole(const char** at, std::uint64_t* number) {
  const char* const first = *at;
  std::uint64_t sum = 0;
  for (; IsDigit(**at); ++*at) {
    sum = sum * 10 + static_cast<std::uint64_t>(**at - '0');
    if (sum >= kTooMuch / 16) return false;  // a multiple of ten below it cannot overflow, and no memory is that large
  }
  *number = sum;
  return *at != first && (*first != '0' || *at - first == 1);
}

/// ".5" as 5 of 10. Nothing is taken without a point.
bool TakeFraction(const char** at, std::uint64_t* part, std::uint64_t* of) {
  *part = 0;
  *of = 1;
  if (**at != '.') return true;
  const char* const first = ++*at;
  for (; IsDigit(**at) && *at - first < kMostDecimals; ++*at) {
    *part = *part * 10 + static_cast<std::uint64_t>(**at - '0');
    *of *= 10;
  }
  return *at != first;
}

/// The rest of the text as a power of two; false when it is no unit.
bool TakeUnit(const char* at, unsigned* shift) {
  *shift = 0;
  if (*at == '\0') return true;
  switch (Lower(*at)) {
    case 'k': *shift = 10; break;
    case 'm': *shift = 20; break;
    case 'g': *shift = 30; break;
    case 't': *shift = 40; break;
    default: return false;
  }
  if (*++at == '\0') return true;
  if (Lower(*at) != 'i') return false;
  if (*++at == '\0') return true;
  return Lower(*at) == 'b' && at[1] == '\0';
}

}  // namespace

bool ParseSize(const char* text, std::uint64_t* bytes) {
  std::uint64_t whole, part, of;
  unsigned shift;
  if (text == nullptr || !TakeWhole(&text, &whole)) return false;
  const bool has_point = *text == '.';
  if (!TakeFraction(&text, &part, &of) || !TakeUnit(text, &shift) || (has_point && shift == 0)) return false;
  if (whole >= kTooMuch >> shift) return false;
  // part < 10^9 and shift ≤ 40 would overflow 64 bits; in two steps of 20 it does not.
  std::uint64_t fraction = 0;
  for (unsigned done = 0; done < shift; done += 10) {
    part <<= 10;
    fraction = fraction << 10 | part / of;
    part %= of;
  }
  *bytes = (whole << shift) + fraction;
  return true;
}

bool ParseNumber(const char* text, std::uint64_t most, std::uint64_t* number) {
  std::uint64_t read;
  if (text == nullptr || !TakeWhole(&text, &read) || *text != '\0' || read > most) return false;
  *number = read;
  return true;
}

}  // namespace partage::shm
