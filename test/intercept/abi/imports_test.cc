// SPDX-License-Identifier: Apache-2.0
// All that libpartage.so takes from the program's libc. What is not here it cannot call by name, whatever its code says: no thread, no signal handler, no
// allocation, no exit. A new name belongs here only if it is harmless in any process, on any thread, at any time. (System calls it can make: `syscall`
// is among them. What those leave behind in a process is shown by report/quiet_test.cc.)
#include <catch2/catch.hpp>

#include <set>
#include <string>

#include "test/intercept/abi/elf_file.h"

namespace partage::test {
namespace {

const std::set<std::string> kImports = {"__errno_location", "__register_atfork", "secure_getenv", "dl_iterate_phdr", "syscall",
                                        // Memory and text.
                                        "memchr", "memcpy", "memset", "snprintf", "strcasecmp", "strchr", "strcmp", "strcspn", "strlen",
                                        "strncmp", "strrchr",
                                        // Files: its two, and /proc.
                                        "__fxstat", "__xstat", "access", "close", "fchmod", "fcntl", "flock", "ftruncate", "link",
                                        "madvise", "mmap", "munmap", "open", "posix_fallocate", "pread", "pwrite", "unlink", "write",
                                        // The machine, time, and whether a process is alive.
                                        "clock_gettime", "getauxval", "getpid", "kill", "nanosleep", "sched_yield", "sysconf"};

}  // namespace

TEST_CASE("What it takes from libc is this and nothing else, on both architectures") {
  const std::string path = GENERATE(PARTAGE_LIBRARY, PARTAGE_LIBRARY_AARCH64);
  INFO(path);
  std::set<std::string> imports;
  for (const ElfFile::Symbol& symbol : ElfFile(path).symbols()) {
    if (!symbol.defined) imports.insert(symbol.name);
  }
  CHECK(imports == kImports);
}

}  // namespace partage::test
