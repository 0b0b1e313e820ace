// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/yaml.h"

namespace partage::sim {

/// What a reader of YAML throws inside this module: `file:line: member: what is wrong`. Never leaves a public function.
class SpecError : public std::runtime_error {
 public:
  SpecError(const std::string& file, const YAML::Node& at, const std::string& what);
};

/// A YAML map whose members are known in advance. Every function throws SpecError on input that breaks its promise. Not thread-safe.
class Section {
 public:
  /// Throws when `map` is no map, or holds a member that is not `known`.
  Section(const std::string& file, const YAML::Node& map, std::initializer_list<std::string_view> known);

  const YAML::Node Get(std::string_view member) const { return map_[std::string(member)]; }
  /// A scalar; throws when it is absent or empty.
  std::string Text(std::string_view member) const;
  std::string Text(std::string_view member, std::string_view otherwise) const;
  std::int32_t Number(std::string_view member, std::int32_t min, std::int32_t max) const;
  std::int32_t Number(std::string_view member, std::int32_t min, std::int32_t max, std::int32_t otherwise) const;
  /// A list of numbers; absent is an empty list.
  std::vector<std::int32_t> Numbers(std::string_view member, std::int32_t min, std::int32_t max) const;
  bool Bool(std::string_view member, bool otherwise) const;
  /// Calls `each` for every element of a list; absent is an empty list.
  template <class Each>
  void ForEach(std::string_view member, const Each& each) const {
    const YAML::Node list = Get(member);
    if (!list || list.IsNull()) return;
    if (!list.IsSequence()) Refuse(member, "is not a list");
    for (const YAML::Node& element : list) each(element);
  }
  [[noreturn]] void Refuse(std::string_view member, std::string_view what) const;

 private:
  std::int32_t ToNumber(std::string_view member, const YAML::Node& value, std::int32_t min, std::int32_t max) const;

  const std::string& file_;
  const YAML::Node map_;
};

}  // namespace partage::sim
