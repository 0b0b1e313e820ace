// SPDX-License-Identifier: Apache-2.0
// A setting: one row that the configuration file, the command line and docs/configuration.md are made from.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/server.h"

namespace partage::app {

/// One setting of a Target (a plain struct). Immutable.
template <class Target>
struct Setting {
  std::string_view key;   ///< in the file: "metricsListen"
  std::string_view flag;  ///< on the command line: "--metrics-listen"; empty: file only
  std::string type;       ///< for people: "HOST:PORT"
  std::string_view help;  ///< one sentence
  /// kInvalid says what is wrong with the text and what is right; the caller adds key and place.
  std::function<Result<>(Target&, std::string_view text)> set;
  /// The value as text that `set` accepts.
  std::function<std::string(const Target&)> get;
};

/// How a kind of value is written. Parse is total: any text gives a value or kInvalid with the way out.
template <class Value>
struct Form {
  std::string type;
  std::function<Result<Value>(std::string_view)> parse;
  std::function<std::string(const Value&)> print;
};

/// "HOST:PORT".
Form<http::Endpoint> EndpointForm();
/// A time with its unit: "15s", "400ms", "2m". More than zero, at most a day.
Form<std::chrono::milliseconds> DurationForm();
/// "true" or "false".
Form<bool> BoolForm();
/// A whole number in [min, max].
Form<std::int64_t> NumberForm(std::int64_t min, std::int64_t max);
/// One of these words.
Form<std::string> WordForm(std::vector<std::string_view> words);
/// Any text, without white space at its ends.
Form<std::string> TextForm(std::string type);

/// Makes a row. `access` gives the member: [](auto& config) -> auto& { return config.listen; }.
template <class Target, class Value, class Access>
Setting<Target> MakeSetting(std::string_view key, std::string_view flag, Form<Value> form, std::string_view help, Access access) {
  return {key,
          flag,
          form.type,
          help,
          [parse = form.parse, access](Target& target, std::string_view text) -> Result<> {
            auto value = parse(text);
            if (!value) return Fail(value.error());
            access(target) = static_cast<std::remove_reference_t<decltype(access(target))>>(*std::move(value));
            return {};
          },
          [print = form.print, access](const Target& target) { return print(static_cast<Value>(access(target))); }};
}

/// The row with this key; nullptr when there is none.
template <class Target>
const Setting<Target>* FindSetting(const std::vector<Setting<Target>>& settings, std::string_view key) {
  for (const auto& setting : settings) {
    if (setting.key == key) return &setting;
  }
  return nullptr;
}

template <class Target>
std::vector<std::string_view> Keys(const std::vector<Setting<Target>>& settings) {
  std::vector<std::string_view> keys;
  for (const auto& setting : settings) keys.push_back(setting.key);
  return keys;
}

}  // namespace partage::app
