// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace partage::log {

Result<> Configure(std::string_view level, std::string_view format) {
  const auto parsed = spdlog::level::from_str(std::string(level));
  if (parsed == spdlog::level::off && level != "off") {
    return Fail(Code::kInvalid, "log level \"{}\" is unknown; use trace, debug, info, warn, error or off", level);
  }
  if (format != "text" && format != "json") {
    return Fail(Code::kInvalid, "log format \"{}\" is unknown; use text or json", format);
  }
  auto logger = std::make_shared<spdlog::logger>("partage", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern(format == "json" ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","thread":%t,"message":"%v"})"
                                       : "%Y-%m-%dT%H:%M:%S.%e %^%L%$ %v");
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
  return {};
}

}  // namespace partage::log
