// SPDX-License-Identifier: Apache-2.0
#include "cli/asked.h"

#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/text_table.h"
#include "vendors/vendor.h"

namespace partage::cli {
namespace {

using nlohmann::json;

/// The quantity of a resource in these limits; empty when there is none.
std::string Quantity(const json& limits, const std::string& resource) { return resource.empty() ? "" : limits.value(resource, ""); }

std::string Memory(const std::string& quantity) {
  std::int64_t mib = 0;
  const char* end = quantity.data() + quantity.size();
  const auto [stop, error] = std::from_chars(quantity.data(), end, mib);
  return error == std::errc() && stop == end ? HumanMib(mib) : quantity;
}

void Append(std::string& text, const char* separator, const std::string& part) {
  if (!part.empty()) text += (text.empty() ? "" : separator) + part;
}

std::string AskedOf(const vendors::Vendor& vendor, const json& limits) {
  const std::string count = Quantity(limits, vendor.count_resource), memory = Quantity(limits, vendor.memory_resource),
                    percent = Quantity(limits, vendor.percent_resource), cores = Quantity(limits, vendor.cores_resource);
  std::string part;
  if (!memory.empty()) Append(part, ", ", Memory(memory));
  if (!percent.empty()) Append(part, ", ", percent + " % memory");
  if (!cores.empty()) Append(part, ", ", cores == "100" && part.empty() ? "card" : cores + " %");
  if (part.empty() && count.empty()) return "";
  return fmt::format("{} × {}", count.empty() ? "1" : count, part.empty() ? "card" : part);
}

std::string AskedBy(const json& container, const vendors::Catalog& catalog) {
  const json limits = container.value(json::json_pointer("/resources/limits"), json::object());
  std::string asked;
  for (const auto& vendor : catalog.vendors()) Append(asked, ", ", AskedOf(vendor, limits));
  return asked;
}

}  // namespace

std::string AskedFor(std::string_view pod) {
  const json spec = json::parse(pod).value("spec", json::object());
  static const auto catalog = vendors::Catalog::Embedded();
  std::string asked;
  for (const json& container : spec.value("initContainers", json::array())) {
    const std::string one = AskedBy(container, catalog);
    Append(asked, " + ", one.empty() ? "" : "(" + one + ")");
  }
  for (const json& container : spec.value("containers", json::array())) Append(asked, " + ", AskedBy(container, catalog));
  return asked.empty() ? "no device" : asked;
}

}  // namespace partage::cli
