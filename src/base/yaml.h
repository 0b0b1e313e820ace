// SPDX-License-Identifier: Apache-2.0
// How every YAML text of people is read: no text, however it is made, costs more than these bounds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "base/result.h"

namespace partage {

inline constexpr std::size_t kMostYamlBytes = 4u << 20;
/// How deep lists and maps may lie in one another, aliases followed.
inline constexpr std::size_t kMostYamlDepth = 64;
/// Lists, maps, their keys and members, all documents together. An alias counts as all that it stands for, so that whoever walks over the nodes walks
/// over no more than this.
inline constexpr std::int64_t kMostYamlValues = 500'000;
/// Brackets that may be open at once in the bare text, whatever they mean there. Bombs of brackets are refused by this in a millisecond; yaml-cpp would
/// take hundreds of bytes for each before it tells of the first.
inline constexpr int kMostOpenBrackets = 1000;

/// The first document of a text; a null node when there is none. kInvalid reads `file:line: what is wrong`: not YAML, over one of the bounds above, an
/// alias of what it stands in. Thread-safe.
Result<YAML::Node> LoadYaml(std::string_view text, const std::string& file);

/// The same for all documents of a text, in order.
Result<std::vector<YAML::Node>> LoadYamlDocuments(std::string_view text, const std::string& file);

}  // namespace partage
