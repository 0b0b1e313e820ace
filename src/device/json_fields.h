// SPDX-License-Identifier: Apache-2.0
// Typed reading of hostile JSON, for the codecs of this folder. On simdjson: a cold start reads an annotation of every pod and node.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "base/problem.h"
#include "base/text.h"

namespace partage::device {

using Json = simdjson::dom::element;

inline constexpr auto kMaxInt32 = std::numeric_limits<std::int32_t>::max();

/// Where in a document a value stands, written out only when something is wrong there. Borrows its parent.
class Path {
 public:
  Path(std::string_view name) : name_(name) {}  // NOLINT: "inventory" is a path
  Path(std::string_view list, std::size_t index) : name_(list), index_(static_cast<std::ptrdiff_t>(index)) {}
  Path(const Path& parent, std::string_view name) : parent_(&parent), name_(name) {}
  Path(const Path& parent, std::string_view list, std::size_t index)
      : parent_(&parent), name_(list), index_(static_cast<std::ptrdiff_t>(index)) {}

  std::string Text() const {
    auto text = parent_ == nullptr ? std::string(name_) : fmt::format("{}.{}", parent_->Text(), name_);
    return index_ < 0 ? text : fmt::format("{}[{}]", text, index_);
  }

 private:
  const Path* parent_ = nullptr;
  std::string_view name_;
  std::ptrdiff_t index_ = -1;
};

/// As much of a value as an error message needs. Never recurses into a hostile document.
inline std::string Shown(const Json& value) {
  if (value.is_array()) return "a list";
  if (value.is_object()) return "an object";
  if (std::string_view text; value.get(text) == simdjson::SUCCESS) return Quoted(text);
  return simdjson::to_string(value);
}

/// The elements of a list in order, until something is wrong: `visit(element, index)`. False when the value is no list.
template <class Visit>
bool EachElement(const Json& value, const Problem& problem, Visit visit) {
  simdjson::dom::array list;
  if (value.get(list) != simdjson::SUCCESS) return false;
  std::size_t index = 0;
  for (const Json element : list) {
    if (problem.any()) break;
    visit(element, index++);
  }
  return true;
}

/// The members of one object. A member that is absent or null leaves `out` at its default. A wrong type or a value out of bounds is reported
/// with its path. Borrows what it is given.
class Fields {
 public:
  Fields(const Json& value, const Path& path, Problem& problem) : path_(path), problem_(problem) {
    if (value.get(object_) == simdjson::SUCCESS) {
      is_object_ = true;
    } else {
      problem_.Report("{} must be an object, not {}", path_.Text(), Shown(value));
    }
  }

  const Path& path() const { return path_; }

  /// False when absent or null.
  bool Find(std::string_view name, Json& member) const {
    return is_object_ && object_[name].get(member) == simdjson::SUCCESS && !member.is_null();
  }
  bool Has(std::string_view name) const {
    Json member;
    return Find(name, member);
  }

  void Text(std::string_view name, std::string& out) const {
    Json member;
    if (!Find(name, member)) return;
    std::string_view text;
    if (member.get(text) != simdjson::SUCCESS) return Wrong(name, member, "a string");
    out = text;
  }

  void RequiredText(std::string_view name, std::string& out) const {
    Text(name, out);
    if (out.empty()) problem_.Report("{}.{} is missing or empty", path_.Text(), name);
  }

  void Flag(std::string_view name, bool& out) const {
    Json member;
    if (Find(name, member) && member.get(out) != simdjson::SUCCESS) Wrong(name, member, "true or false");
  }

  void Number(std::string_view name, std::int32_t least, std::int32_t most, std::int32_t& out) const {
    if (Json member; Find(name, member)) ReadNumber(name, member, least, most, out);
  }

  void RequiredNumber(std::string_view name, std::int32_t least, std::int32_t most, std::int32_t& out) const {
    if (!Has(name)) problem_.Report("{}.{} is missing", path_.Text(), name);
    Number(name, least, most, out);
  }

  /// The elements of a list member: `visit(element, path)`, until something is wrong.
  template <class Visit>
  void Each(std::string_view name, Visit visit) const {
    Json member;
    if (!Find(name, member)) return;
    const auto visit_at = [&](const Json& element, std::size_t index) { visit(element, Path(path_, name, index)); };
    if (!EachElement(member, problem_, visit_at)) Wrong(name, member, "a list");
  }

  /// The members of an object that maps names to numbers: `visit(name, number)`.
  template <class Visit>
  void EachNumber(std::string_view name, std::int32_t least, std::int32_t most, Visit visit) const {
    Json member;
    if (!Find(name, member)) return;
    const Path path(path_, name);
    const Fields numbers(member, path, problem_);
    if (!numbers.is_object_) return;
    for (const auto& [key, value] : numbers.object_) {
      std::int32_t number = least;
      numbers.ReadNumber(key, value, least, most, number);
      if (problem_.any()) return;
      visit(key, number);
    }
  }

 private:
  void ReadNumber(std::string_view name, const Json& value, std::int32_t least, std::int32_t most, std::int32_t& out) const {
    std::int64_t number = 0;
    if (value.get(number) != simdjson::SUCCESS || number < least || number > most) {
      return Wrong(name, value, fmt::format("a whole number from {} to {}", least, most));
    }
    out = static_cast<std::int32_t>(number);
  }

  void Wrong(std::string_view name, const Json& value, std::string_view expected) const {
    problem_.Report("{}.{} must be {}, not {}", path_.Text(), name, expected, Shown(value));
  }

  simdjson::dom::object object_;
  bool is_object_ = false;
  const Path& path_;
  Problem& problem_;
};

/// Parses a text and hands its root to `read`; reports a text that is not JSON. What `read` sees ends with the call.
template <class Read>
void ReadJson(std::string_view text, Problem& problem, Read read) {
  simdjson::dom::parser parser;
  Json root;
  if (parser.parse(text.data(), text.size()).get(root) != simdjson::SUCCESS) return problem.Report("{} is not JSON", Quoted(text));
  read(root);
}

}  // namespace partage::device
