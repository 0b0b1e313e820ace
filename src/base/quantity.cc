// SPDX-License-Identifier: Apache-2.0

#include "base/quantity.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "base/text.h"

namespace partage {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view TakeDigits(std::string_view& text) {
  const auto end = std::find_if_not(text.begin(), text.end(), IsDigit);
  const auto length = static_cast<std::size_t>(end - text.begin());
  const auto digits = text.substr(0, length);
  text.remove_prefix(length);
  return digits;
}

bool Take(std::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

/// A suffix as base^exponent.
struct Scale {
  int base = 10;
  int exponent = 0;
};

std::optional<Scale> ParseExponent(std::string_view digits) {
  constexpr int kMost = 100'000;  // far beyond any number that fits; keeps the arithmetic below in int
  const bool negative = Take(digits, '-');
  if (!negative) Take(digits, '+');
  int exponent = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
  if (digits.empty() || !IsDigit(digits.front()) || end != digits.data() + digits.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) exponent = kMost;
  exponent = std::min(exponent, kMost);
  return Scale{.exponent = negative ? -exponent : exponent};
}

std::optional<Scale> ParseSuffix(std::string_view suffix) {
  constexpr std::string_view kBinary = "KMGTPE";
  constexpr std::string_view kDecimal = "num kMGTPE";  // the place tells the power of a thousand, the blank is none
  if (suffix.empty()) return Scale{};
  if (suffix.size() == 1 && suffix != " ") {
    const auto place = kDecimal.find(suffix[0]);
    if (place == std::string_view::npos) return std::nullopt;
    return Scale{.exponent = 3 * (static_cast<int>(place) - 3)};
  }
  if (suffix.size() == 2 && suffix[1] == 'i') {
    const auto place = kBinary.find(suffix[0]);
    if (place == std::string_view::npos) return std::nullopt;
    return Scale{.base = 2, .exponent = 10 * (static_cast<int>(place) + 1)};
  }
  if (suffix[0] == 'e' || suffix[0] == 'E') return ParseExponent(suffix.substr(1));
  return std::nullopt;
}

/// The magnitude of a quantity, built digit by digit, so that no intermediate value needs more than 64 bits.
class Magnitude {
 public:
  explicit Magnitude(std::uint64_t limit) : limit_(limit) {}

  /// value × factor + digit; false when that is beyond the limit.
  bool Push(std::uint64_t factor, std::uint64_t digit) {
    if (value_ > (limit_ - digit) / factor) return false;
    value_ = value_ * factor + digit;
    return true;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t limit_;
  std::uint64_t value_ = 0;
};

enum class Outcome { kWhole, kFraction, kTooLarge };

bool AllZero(std::string_view digits) { return digits.find_first_not_of('0') == std::string_view::npos; }

// digits × 10^shift with the decimal point after `point` digits.
Outcome ScaleByTen(const std::string& digits, std::ptrdiff_t point, Magnitude& magnitude) {
  const auto size = static_cast<std::ptrdiff_t>(digits.size());
  if (AllZero(digits)) return Outcome::kWhole;
  const auto whole_digits = std::clamp<std::ptrdiff_t>(point, 0, size);
  if (!AllZero(std::string_view(digits).substr(static_cast<std::size_t>(whole_digits)))) return Outcome::kFraction;
  for (std::ptrdiff_t i = 0; i < point; ++i) {
    if (!magnitude.Push(10, i < size ? static_cast<std::uint64_t>(digits[static_cast<std::size_t>(i)] - '0') : 0))
      return Outcome::kTooLarge;
  }
  return Outcome::kWhole;
}

// Doubles the decimal fraction in place; returns what spills over the point.
std::uint64_t DoubleFraction(std::string& fraction) {
  int carry = 0;
  for (auto digit = fraction.rbegin(); digit != fraction.rend(); ++digit) {
    const int doubled = 2 * (*digit - '0') + carry;
    *digit = static_cast<char>('0' + doubled % 10);
    carry = doubled / 10;
  }
  return static_cast<std::uint64_t>(carry);
}

Outcome ScaleByTwo(std::string_view whole, std::string_view fraction_digits, int exponent, Magnitude& magnitude) {
  std::string fraction(fraction_digits.substr(0, fraction_digits.find_last_not_of('0') + 1));
  // Each doubling takes one decimal off a fraction that ends up whole.
  if (fraction.size() > static_cast<std::size_t>(exponent)) return Outcome::kFraction;
  for (const char digit : whole) {
    if (!magnitude.Push(10, static_cast<std::uint64_t>(digit - '0'))) return Outcome::kTooLarge;
  }
  for (int i = 0; i < exponent; ++i) {
    if (!magnitude.Push(2, DoubleFraction(fraction))) return Outcome::kTooLarge;
  }
  return AllZero(fraction) ? Outcome::kWhole : Outcome::kFraction;
}

}  // namespace

Result<std::int64_t> ParseWholeQuantity(std::string_view text) {
  auto rest = text;
  const bool negative = Take(rest, '-');
  if (!negative) Take(rest, '+');
  const auto whole = TakeDigits(rest);
  const auto fraction = Take(rest, '.') ? TakeDigits(rest) : std::string_view{};
  const auto scale = ParseSuffix(rest);
  if (!scale || (whole.empty() && fraction.empty())) return Fail(Code::kInvalid, "{} is not a Kubernetes quantity", Quoted(text));

  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  Magnitude magnitude(negative ? kMax + 1 : kMax);
  const auto outcome = scale->base == 2 ? ScaleByTwo(whole, fraction, scale->exponent, magnitude)
                                        : ScaleByTen(std::string(whole).append(fraction),
                                                     static_cast<std::ptrdiff_t>(whole.size()) + scale->exponent, magnitude);
  switch (outcome) {
    case Outcome::kFraction: return Fail(Code::kInvalid, "{} is not a whole number", Quoted(text));
    case Outcome::kTooLarge: return Fail(Code::kInvalid, "{} does not fit in 64 bits", Quoted(text));
    case Outcome::kWhole: break;
  }
  return static_cast<std::int64_t>(negative ? 0 - magnitude.value() : magnitude.value());
}

}  // namespace partage
