// SPDX-License-Identifier: Apache-2.0
#include "base/text_file.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace partage {

Result<std::string> ReadTextFile(const std::string& path, std::size_t max_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Fail(errno == ENOENT ? Code::kNotFound : Code::kInvalid, "{}: {}", path, std::strerror(errno));
  std::string text;
  std::array<char, 16384> piece;
  while (text.size() <= max_bytes && (file.read(piece.data(), piece.size()), file.gcount() > 0)) {
    text.append(piece.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (file.bad()) return Fail(Code::kInvalid, "{}: cannot be read ({})", path, std::strerror(errno));
  if (text.size() > max_bytes) return Fail(Code::kInvalid, "{}: is over {} bytes", path, max_bytes);
  return text;
}

}  // namespace partage
