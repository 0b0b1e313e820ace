// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "shm/limits.h"

namespace partage::app {

/// Applies "UUID[,memory=SIZE][,cores=PERCENT][,soft=on|off][,oversubscribe=on|off]" to the device of that UUID, adding it when there is
/// none. kInvalid, and nothing changed, when the text is not such a thing or there is no room for another device.
Result<> ChangeDevice(shm::LimitsContent& content, std::string_view text);

/// What the limits file says, as lines for people or as JSON.
std::string RenderLimits(const shm::LimitsContent& content, bool json);

/// partage-limits without its process: 0 done, 1 the file was refused, 2 wrong arguments. `--help` is its manual.
int RunLimits(std::vector<std::string> arguments, std::ostream& out, std::ostream& err);

}  // namespace partage::app
