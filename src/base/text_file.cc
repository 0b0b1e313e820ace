// SPDX-License-Identifier: Apache-2.0
#include "base/text_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

namespace partage {

Result<std::string> ReadTextFile(const std::string& path, std::size_t max_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Fail(errno == ENOENT ? Code::kNotFound : Code::kInvalid, "{}: {}", path, std::strerror(errno));
  std::string text(max_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return Fail(Code::kInvalid, "{}: cannot be read ({})", path, std::strerror(errno));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > max_bytes) return Fail(Code::kInvalid, "{}: is over {} bytes", path, max_bytes);
  return text;
}

}  // namespace partage
