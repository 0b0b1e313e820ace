// SPDX-License-Identifier: Apache-2.0
// Typed reading of hostile JSON, for the codecs of this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/problem.h"
#include "base/text.h"

namespace partage::device {

using Json = nlohmann::json;

/// Parses without throwing; a discarded value and a report when the text is not JSON.
inline Json ParseJson(std::string_view text, Problem& problem) {
  auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) problem.Report("{} is not JSON", Quoted(text));
  return json;
}

/// As much of a JSON value as an error message needs. Never recurses into a hostile document.
inline std::string Shown(const Json& value) {
  if (value.is_structured()) return value.type_name();
  return value.is_string() ? Quoted(value.get_ref<const std::string&>()) : value.dump();
}

/// The members of one object. A member that is absent or null leaves `out` at its default. A wrong type or a value out of bounds is reported
/// as `where.member`. Borrows everything it is given.
class Fields {
 public:
  Fields(const Json& value, std::string where, Problem& problem) : value_(value), where_(std::move(where)), problem_(problem) {
    if (!value.is_object()) problem.Report("{} must be an object, not {}", where_, Shown(value));
  }

  const std::string& where() const { return where_; }

  /// nullptr when absent or null.
  const Json* Find(const char* name) const {
    if (!value_.is_object()) return nullptr;
    const auto found = value_.find(name);
    return found == value_.end() || found->is_null() ? nullptr : &*found;
  }

  void Text(const char* name, std::string& out) const {
    const auto* member = Find(name);
    if (member == nullptr) return;
    if (!member->is_string()) return Wrong(name, *member, "a string");
    out = member->get_ref<const std::string&>();
  }

  void RequiredText(const char* name, std::string& out) const {
    Text(name, out);
    if (out.empty()) problem_.Report("{}.{} is missing or empty", where_, name);
  }

  void Flag(const char* name, bool& out) const {
    const auto* member = Find(name);
    if (member == nullptr) return;
    if (!member->is_boolean()) return Wrong(name, *member, "true or false");
    out = member->get<bool>();
  }

  void Number(const char* name, std::int32_t least, std::int32_t most, std::int32_t& out) const {
    const auto* member = Find(name);
    if (member == nullptr) return;
    // Unsigned values beyond int64 would turn negative in get<int64_t>().
    const bool fits =
        member->is_number_integer() && (!member->is_number_unsigned() || member->get<std::uint64_t>() <= static_cast<std::uint64_t>(most));
    const auto number = fits ? member->get<std::int64_t>() : std::int64_t{least} - 1;
    if (number < least || number > most) return Wrong(name, *member, fmt::format("a whole number from {} to {}", least, most));
    out = static_cast<std::int32_t>(number);
  }

  void RequiredNumber(const char* name, std::int32_t least, std::int32_t most, std::int32_t& out) const {
    if (Find(name) == nullptr) problem_.Report("{}.{} is missing", where_, name);
    Number(name, least, most, out);
  }

  /// The elements of a list member: `visit(element, "where.name[i]")`, until something is wrong.
  template <class Visit>
  void Each(const char* name, Visit visit) const {
    const auto* member = Find(name);
    if (member == nullptr) return;
    if (!member->is_array()) return Wrong(name, *member, "a list");
    for (std::size_t i = 0; i < member->size() && !problem_.any(); ++i) visit((*member)[i], fmt::format("{}.{}[{}]", where_, name, i));
  }

 private:
  void Wrong(const char* name, const Json& value, std::string_view expected) const {
    problem_.Report("{}.{} must be {}, not {}", where_, name, expected, Shown(value));
  }

  const Json& value_;
  std::string where_;
  Problem& problem_;
};

}  // namespace partage::device
