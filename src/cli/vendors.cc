// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/text_table.h"
#include "vendors/vendor.h"

namespace partage::cli {

Run AddVendors(CLI::App&) {
  return []() -> Result<int> {
    TextTable table({"VENDOR", "RESOURCES"});
    const auto catalog = vendors::Catalog::Embedded();
    for (const vendors::Vendor& vendor : catalog.vendors()) {
      table.Add({{vendor.name, Tone::kStrong}, {fmt::format("{}", fmt::join(vendor.Resources(), ", "))}});
    }
    std::fputs(table.Render(StdoutPainter()).c_str(), stdout);
    return 0;
  };
}

}  // namespace partage::cli
