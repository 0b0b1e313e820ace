// SPDX-License-Identifier: Apache-2.0
#include "intercept/log.h"

#include <errno.h>
#include <unistd.h>

namespace partage::intercept {
namespace {

int g_level = static_cast<int>(Level::kWarning);

class Line {
 public:
  void Add(const char* text) {
    for (; *text != 0 && used_ < sizeof(bytes_) - 1; ++text) bytes_[used_++] = *text;
  }
  void Add(std::uint64_t number) {
    char digits[21];
    unsigned at = sizeof(digits) - 1;
    digits[at] = 0;
    do digits[--at] = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    Add(digits + at);
  }
  void Write() {
    bytes_[used_++] = '\n';
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, bytes_, used_);
  }

 private:
  char bytes_[400];
  size_t used_ = 0;
};

}  // namespace

void SetLogLevel(int level) { __atomic_store_n(&g_level, level, __ATOMIC_RELAXED); }

void LogPieces(Level level, const Piece* pieces, unsigned count) {
  const int at_most = __atomic_load_n(&g_level, __ATOMIC_RELAXED);
  if (static_cast<int>(level) > at_most && level != Level::kError) return;
  const int error = errno;
  Line line;
  line.Add("[partage] ");
  for (unsigned i = 0; i < count; ++i) pieces[i].text != nullptr ? line.Add(pieces[i].text) : line.Add(pieces[i].number);
  line.Write();
  errno = error;
}

}  // namespace partage::intercept
