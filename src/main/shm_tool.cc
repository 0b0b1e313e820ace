// SPDX-License-Identifier: Apache-2.0
#include "main/shm_tool.h"

#include <algorithm>

#include <CLI/CLI.hpp>

namespace partage::app {

Result<> ParseWords(CLI::App& app, std::vector<std::string> words, bool& help) {
  app.set_help_flag();
  app.add_flag("--help,-h", help);
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    return Fail(Code::kInvalid, "{}", error.what());
  }
  return {};
}

shm::Fault ReadLimitsFile(const std::string& file, shm::LimitsContent& content) {
  shm::Limits limits;
  const shm::Fault fault = limits.Open(file.c_str());
  if (fault != shm::Fault::kNone) return fault;
  return limits.Read(&content) ? fault : shm::Fault::kContent;
}

}  // namespace partage::app
