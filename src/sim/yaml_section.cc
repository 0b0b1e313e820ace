// SPDX-License-Identifier: Apache-2.0
#include "sim/yaml_section.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"

namespace partage::sim {

SpecError::SpecError(const std::string& file, const YAML::Node& at, const std::string& what)
    : std::runtime_error(fmt::format("{}:{}: {}", file, at.Mark().line + 1, what)) {}

Section::Section(const std::string& file, const YAML::Node& map, std::initializer_list<std::string_view> known) : file_(file), map_(map) {
  if (!map.IsMap()) throw SpecError(file, map, fmt::format("a map with {} is expected here", fmt::join(known, ", ")));
  for (const auto& entry : map) {
    const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "";
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    throw SpecError(file, entry.first, fmt::format("{} is not a member; there are {}", Quoted(name), fmt::join(known, ", ")));
  }
}

std::string Section::Text(std::string_view member) const {
  const YAML::Node value = Get(member);
  if (!value || !value.IsScalar() || value.Scalar().empty()) Refuse(member, "is missing; a word belongs here");
  return value.Scalar();
}

std::string Section::Text(std::string_view member, std::string_view otherwise) const {
  return Get(member) ? Text(member) : std::string(otherwise);
}

std::int32_t Section::Number(std::string_view member, std::int32_t min, std::int32_t max) const {
  const YAML::Node value = Get(member);
  if (!value) Refuse(member, "is missing; a whole number belongs here");
  return ToNumber(member, value, min, max);
}

std::int32_t Section::Number(std::string_view member, std::int32_t min, std::int32_t max, std::int32_t otherwise) const {
  const YAML::Node value = Get(member);
  return value ? ToNumber(member, value, min, max) : otherwise;
}

std::vector<std::int32_t> Section::Numbers(std::string_view member, std::int32_t min, std::int32_t max) const {
  std::vector<std::int32_t> numbers;
  ForEach(member, [&](const YAML::Node& element) { numbers.push_back(ToNumber(member, element, min, max)); });
  return numbers;
}

bool Section::Bool(std::string_view member, bool otherwise) const {
  const std::string text = Text(member, otherwise ? "true" : "false");
  if (text != "true" && text != "false") Refuse(member, fmt::format("{} is neither true nor false", Quoted(text)));
  return text == "true";
}

void Section::Refuse(std::string_view member, std::string_view what) const {
  const YAML::Node value = Get(member);
  throw SpecError(file_, value ? value : map_, fmt::format("{}: {}", member, what));
}

std::int32_t Section::ToNumber(std::string_view member, const YAML::Node& value, std::int32_t min, std::int32_t max) const {
  std::int32_t number = 0;
  if (!value.IsScalar() || !YAML::convert<std::int32_t>::decode(value, number)) Refuse(member, "is not a whole number");
  if (number < min || number > max) Refuse(member, fmt::format("{} is out of range; use {} to {}", number, min, max));
  return number;
}

}  // namespace partage::sim
