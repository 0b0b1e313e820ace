// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace partage::app {

/// docs/configuration.md, made from the tables of settings. A test keeps the file equal to this.
std::string ConfigurationDoc();

}  // namespace partage::app
