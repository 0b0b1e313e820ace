// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "scheduler/state/snapshot.h"

namespace partage::scheduler {

/// Readable bytes that must follow a list for ReadNameList.
inline constexpr std::size_t kNameListPadding = 16;

/// Reads node names as Go's encoder writes them in a JSON array (`"a","b","c"`: no spaces, nothing escaped) and looks them up in the same pass, which takes
/// a third of the time of parsing and then looking up. Fills `names` (views into `list`) and `ids` (as NodeIndex::FindAll), one each. False when the text is
/// not such a list, or holds a character that no node's name can have: what was filled then means nothing, and a JSON parser must judge.
/// REQUIRES: kNameListPadding readable bytes after `list`. Thread-safe.
bool ReadNameList(std::string_view list, const NodeIndex& index, std::vector<std::string_view>& names, std::vector<NodeId>& ids);

}  // namespace partage::scheduler
