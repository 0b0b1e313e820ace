// SPDX-License-Identifier: Apache-2.0
// Documents quote files of the tree: a code block below `<!-- quote: PATH -->` must stand in that file, word for word.
#include <filesystem>
#include <regex>

#include <catch2/catch.hpp>

#include "base/text_file.h"

namespace partage {
namespace {

struct Quote {
  std::string path, code;
};

std::vector<Quote> QuotesOf(const std::string& document) {
  static const std::regex pattern("<!-- quote: (\\S+) -->\n```\\w*\n([^]*?)```");
  std::vector<Quote> quotes;
  for (auto it = std::sregex_iterator(document.begin(), document.end(), pattern); it != std::sregex_iterator(); ++it) {
    quotes.push_back({(*it)[1], (*it)[2]});
  }
  return quotes;
}

std::vector<std::string> Documents() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(PARTAGE_SOURCE_DIR "/docs")) {
    if (entry.path().extension() == ".md") paths.push_back(entry.path());
  }
  return paths;
}

TEST_CASE("Code that documents quote stands in the files they name") {
  std::size_t quotes = 0;
  for (const std::string& path : Documents()) {
    for (const Quote& quote : QuotesOf(ReadTextFile(path).value())) {
      INFO(path << " quotes " << quote.path << ":\n" << quote.code);
      const auto file = ReadTextFile(PARTAGE_SOURCE_DIR "/" + quote.path);
      REQUIRE(file.has_value());
      CHECK(file->find(quote.code) != std::string::npos);
      ++quotes;
    }
  }
  CHECK(quotes > 0);
}

}  // namespace
}  // namespace partage
