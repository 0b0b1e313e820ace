// SPDX-License-Identifier: Apache-2.0
#include "main/setting.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/text.h"
#include "main/nearest.h"

namespace partage::app {
namespace {

using std::chrono::milliseconds;

struct Unit {
  std::string_view suffix;
  std::int64_t milliseconds;
};
constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
constexpr std::int64_t kDay = 24 * 3'600'000;

/// The leading digits as a number, and what follows them.
bool LeadingNumber(std::string_view text, std::int64_t& number, std::string_view& rest) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  rest = text.substr(static_cast<std::size_t>(end - text.data()));
  return error == std::errc();
}

Result<milliseconds> ParseDuration(std::string_view text) {
  const auto wrong = [&] { return Fail(Code::kInvalid, "{} is not a time; write it with its unit, like 15s, 400ms or 2m", Quoted(text)); };
  std::int64_t number = 0;
  std::string_view suffix;
  if (!LeadingNumber(text, number, suffix)) return wrong();
  const auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const Unit& known) { return known.suffix == suffix; });
  if (unit == std::end(kUnits)) return wrong();
  if (number <= 0 || number > kDay / unit->milliseconds) {
    return Fail(Code::kInvalid, "{} is out of range; use more than zero and at most 24h", Quoted(text));
  }
  return milliseconds(number * unit->milliseconds);
}

std::string PrintDuration(const milliseconds& value) {
  return value.count() % 1000 == 0 ? fmt::format("{}s", value.count() / 1000) : fmt::format("{}ms", value.count());
}

Result<std::int64_t> ParseNumber(std::string_view text, std::int64_t min, std::int64_t max) {
  std::int64_t number = 0;
  std::string_view rest;
  if (!LeadingNumber(text, number, rest) || !rest.empty()) return Fail(Code::kInvalid, "{} is not a whole number", Quoted(text));
  if (number < min || number > max) return Fail(Code::kInvalid, "{} is out of range; use {} to {}", number, min, max);
  return number;
}

std::string Same(const std::string& text) { return text; }

}  // namespace

Form<http::Endpoint> EndpointForm() {
  const auto print = [](const http::Endpoint& endpoint) {
    const bool v6 = endpoint.host.find(':') != std::string::npos;
    return fmt::format(fmt::runtime(v6 ? "[{}]:{}" : "{}:{}"), endpoint.host, endpoint.port);
  };
  return {"HOST:PORT", &http::ParseEndpoint, print};
}

Form<milliseconds> DurationForm() { return {"time", &ParseDuration, &PrintDuration}; }

Form<bool> BoolForm() {
  const auto parse = [](std::string_view text) -> Result<bool> {
    if (text == "true") return true;
    if (text == "false") return false;
    return Fail(Code::kInvalid, "{} is neither true nor false", Quoted(text));
  };
  return {"true or false", parse, [](const bool& value) { return std::string(value ? "true" : "false"); }};
}

Form<std::int64_t> NumberForm(std::int64_t min, std::int64_t max) {
  return {fmt::format("number, {} to {}", min, max), [=](std::string_view text) { return ParseNumber(text, min, max); },
          [](const std::int64_t& value) { return std::to_string(value); }};
}

Form<std::string> WordForm(std::vector<std::string_view> words) {
  std::string type = fmt::format("{}", fmt::join(words, ", "));
  const auto parse = [words = std::move(words)](std::string_view text) -> Result<std::string> {
    if (std::find(words.begin(), words.end(), text) != words.end()) return std::string(text);
    return Fail(Code::kInvalid, "{} is none of {}{}", Quoted(text), fmt::join(words, ", "), DidYouMean(text, words));
  };
  return {std::move(type), parse, &Same};
}

Form<std::string> TextForm(std::string type) {
  return {std::move(type), [](std::string_view text) -> Result<std::string> { return std::string(Trim(text)); }, &Same};
}

}  // namespace partage::app
