// SPDX-License-Identifier: Apache-2.0
// What libpartage.so promises to any process it is loaded into, read from the file that ships.
#include <catch2/catch.hpp>

#include <cstdio>
#include <iterator>
#include <vector>

#include "test/intercept/abi/elf_file.h"

namespace partage::test {
namespace {

const std::set<std::string> kRows = {
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) #name,
#define PARTAGE_NVML_FUNCTION PARTAGE_CUDA_FUNCTION
#include "intercept/api/cuda_functions.inc"
#include "intercept/api/nvml_functions.inc"
};

/// "GLIBC_2.17" as 2017; 0 for what is no version of glibc.
int GlibcVersion(const std::string& version) {
  int major = 0;
  int minor = 0;
  return std::sscanf(version.c_str(), "GLIBC_%d.%d", &major, &minor) == 2 ? 1000 * major + minor : 0;
}

/// Each test goes through both.
struct Library {
  const char* path;
  int machine;
};
constexpr Library kLibraries[] = {{PARTAGE_LIBRARY, EM_X86_64}, {PARTAGE_LIBRARY_AARCH64, EM_AARCH64}};

#define EACH_LIBRARY()                                                                   \
  const Library of = GENERATE(from_range(std::begin(kLibraries), std::end(kLibraries))); \
  INFO(of.path);                                                                         \
  const ElfFile library(of.path)

}  // namespace

TEST_CASE("It exports entry points of the driver and the two functions of libc that open libraries, and nothing else") {
  EACH_LIBRARY();
  std::size_t hooks = 0;
  for (const ElfFile::Symbol& symbol : library.symbols()) {
    if (!symbol.defined) continue;
    INFO(symbol.name);
    CHECK(symbol.function);
    const bool opens = symbol.name == "dlopen" || symbol.name == "dlmopen";
    CHECK((opens || kRows.count(symbol.name) == 1));
    hooks += opens ? 0 : 1;
  }
  CHECK(hooks > 60);
  CHECK(library.exports().count("dlopen") == 1);
  CHECK(library.exports().count("cuGetProcAddress_v2") == 1);
}

TEST_CASE("It needs libc and nothing else, in no version above 2.17") {
  EACH_LIBRARY();
  CHECK(library.needed() == std::set<std::string>{"libc.so.6"});
  for (const ElfFile::Symbol& symbol : library.symbols()) {
    if (symbol.defined) continue;
    INFO(symbol.name << " " << symbol.version);
    CHECK(GlibcVersion(symbol.version) > 0);
    CHECK(GlibcVersion(symbol.version) <= 2017);
    CHECK_FALSE(symbol.weak);
  }
}

TEST_CASE("It never looks anything up with dlsym, installs no signal handler, changes no umask and cannot end its host") {
  EACH_LIBRARY();
  const std::set<std::string> forbidden = {"dlsym", "dlvsym", "signal",       "sigaction", "umask",  "exit",   "_exit",
                                           "abort", "atexit", "__cxa_atexit", "malloc",    "printf", "setenv", "getenv"};
  for (const ElfFile::Symbol& symbol : library.symbols()) {
    INFO(symbol.name);
    CHECK(forbidden.count(symbol.name) == 0);
  }
}

TEST_CASE("Loading it runs no code and can be done once for all") {
  EACH_LIBRARY();
  for (const std::int64_t tag : {DT_INIT, DT_INIT_ARRAY, DT_FINI, DT_FINI_ARRAY, DT_PREINIT_ARRAY, DT_TEXTREL}) {
    INFO(tag);
    CHECK_FALSE(library.HasDynamicTag(tag));
  }
  CHECK((library.DynamicValue(DT_FLAGS_1) & DF_1_NODELETE) != 0);
  CHECK((library.DynamicValue(DT_FLAGS_1) & DF_1_NOW) == 0);  // nor looks up what a process that never uses CUDA does not need
  CHECK_FALSE(library.HasDynamicTag(DT_BIND_NOW));
  CHECK(library.soname() == "libpartage.so");
}

TEST_CASE("It is small: in size, in relocations and in thread-local storage, and no page is writable and executable") {
  EACH_LIBRARY();
  CHECK(library.bytes() <= 256 * 1024);
  CHECK(library.relocations() <= 400);
  REQUIRE(library.Segment(PT_TLS) != nullptr);
  CHECK(library.Segment(PT_TLS)->p_memsz <= 512);  // of the 1.5 KiB that glibc keeps for libraries loaded late
  for (const Elf64_Phdr& segment : library.segments()) CHECK((segment.p_flags & (PF_W | PF_X)) != (PF_W | PF_X));
}

TEST_CASE("A program that is started with it pays for two mappings of the file and one page that the loader writes") {
  EACH_LIBRARY();
  constexpr std::uint64_t kPage = 4096;
  std::vector<Elf64_Phdr> loaded;
  for (const Elf64_Phdr& segment : library.segments()) {
    if (segment.p_type == PT_LOAD) loaded.push_back(segment);
  }
  REQUIRE(loaded.size() == 2);
  const std::uint64_t last_page = (loaded[1].p_vaddr + loaded[1].p_filesz) / kPage;  // its rest is zeroed
  for (const std::uint64_t address : library.relocated()) CHECK(address / kPage == last_page);
  CHECK(library.Segment(PT_DYNAMIC)->p_vaddr / kPage == last_page);
  CHECK(library.Segment(PT_TLS)->p_filesz == 0);
}

TEST_CASE("Each file is for its kind of machine, and a file that is none is refused") {
  EACH_LIBRARY();
  CHECK(library.machine() == of.machine);
  CHECK_THROWS(ElfFile("/etc/passwd"));
}

}  // namespace partage::test
