// SPDX-License-Identifier: Apache-2.0
// Both ways of redirection on a library loaded into this very process. Each test takes a fresh copy of the file, so that it is a library of its own.
#include "intercept/loader/redirect.h"

#include <catch2/catch.hpp>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <string>

#include "test/support/temp_folder.h"

namespace partage::intercept::loader {
namespace {

/// A loaded copy of the subject.
class Subject {
 public:
  explicit Subject(const char* file = PARTAGE_SUBJECT) {
    const std::string path = folder_.path() + "/subject.so";
    std::filesystem::copy(file, path);
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE(handle_ != nullptr);
  }
  ~Subject() { dlclose(handle_); }

  ElfImage image() const {
    const auto* const map = static_cast<const link_map*>(handle_);
    return {map->l_addr, map->l_ld};
  }
  int Call(const char* name) const { return reinterpret_cast<int (*)()>(dlsym(handle_, name))(); }
  void* Find(const char* name) const { return dlsym(handle_, name); }

 private:
  test::TempFolder folder_;
  void* handle_;
};

int Hook() { return 1000; }

/// Redirects one name.
void* HookOf(const char* name, void*, void* context) {
  return std::strcmp(name, static_cast<const char*>(context)) == 0 ? reinterpret_cast<void*>(&Hook) : nullptr;
}

char g_second[] = "SubjectTwo";

}  // namespace

TEST_CASE("A look-up of our own finds what the loader finds") {
  const Subject subject;
  REQUIRE(subject.image().ok());
  const ElfImage image = subject.image();
  for (const char* name : {"SubjectOne", "SubjectTwo", "SubjectThree"}) {
    const ElfW(Sym)* const symbol = image.Find(name);
    REQUIRE(symbol != nullptr);
    CHECK(image.AddressOf(*symbol) == subject.Find(name));
    CHECK(std::string(image.NameOf(*symbol)) == name);
  }
  CHECK(image.Find("SubjectFour") == nullptr);
  CHECK(image.Find("") == nullptr);
  CHECK(image.symbol_count() > 3);
}

TEST_CASE("Every loaded library's symbols can be counted, and found by their names", "[elf]") {
  std::size_t libraries = 0;
  ForEachLoaded([&](const ElfImage& image, const char*) {
    if (!image.ok()) return true;
    ++libraries;
    const std::size_t count = image.symbol_count();
    for (std::size_t i = 1; i < count; i += 1 + count / 50) {
      const ElfW(Sym)& symbol = image.symbols()[i];
      if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_BIND(symbol.st_info) == STB_LOCAL) continue;
      const ElfW(Sym)* const found = image.Find(image.NameOf(symbol));
      REQUIRE(found != nullptr);
      CHECK(std::strcmp(image.NameOf(*found), image.NameOf(symbol)) == 0);
    }
    return true;
  });
  CHECK(libraries >= 3);
}

TEST_CASE("A walk over an object's symbols meets what a look-up finds, with the hash of its name", "[elf]") {
  const char* const file = GENERATE(PARTAGE_SUBJECT, PARTAGE_SYSV_SUBJECT);
  const Subject subject(file);
  const ElfImage image = subject.image();
  REQUIRE(image.ok());
  std::map<std::string, const ElfW(Sym)*> met;
  image.ForEachDefined([&](const ElfW(Sym) & symbol, std::uint32_t hash) {
    CHECK((hash | 1) == (GnuHashOf(image.NameOf(symbol)) | 1));
    met.emplace(image.NameOf(symbol), &symbol);
  });
  for (const char* name : {"SubjectOne", "SubjectTwo", "SubjectThree"}) CHECK(met[name] == image.Find(name));
  for (const auto& [name, symbol] : met) CHECK(image.Find(name.c_str()) != nullptr);
}

TEST_CASE("The next definition behind an object is found in load order") {
  void* const own = reinterpret_cast<void*>(&gnu_get_libc_version);
  CHECK(NextAfter(own, "gnu_get_libc_version") == nullptr);  // libc's is the only one, so the last
  CHECK(NextAfter(own, "no such function") == nullptr);
}

TEST_CASE("Redirected where it lies, a name leads to the hook, the others and old pointers stay") {
  const Subject subject;
  const auto old = reinterpret_cast<int (*)()>(subject.Find("SubjectTwo"));
  REQUIRE(RedirectInPlace(subject.image(), HookOf, g_second));
  CHECK(subject.Call("SubjectTwo") == 1000);
  CHECK(subject.Call("SubjectOne") == 1);
  CHECK(subject.Call("SubjectThree") == 3);
  CHECK(old() == 2);
}

TEST_CASE("The pages of the table are not left writable") {
  const Subject subject;
  REQUIRE(RedirectInPlace(subject.image(), HookOf, g_second));
  const auto* const table = subject.image().symbols();
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  REQUIRE(write(ends[1], "x", 1) == 1);
  CHECK(read(ends[0], const_cast<ElfW(Sym)*>(table), 1) == -1);  // the kernel refuses to write there
  CHECK(errno == EFAULT);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("Redirected by a copy of the table, look-ups behave the same") {
  const Subject subject;
  const auto* const before = subject.image().symbols();
  const auto old = reinterpret_cast<int (*)()>(subject.Find("SubjectTwo"));
  REQUIRE(RedirectByCopy(subject.image(), HookOf, g_second));
  CHECK(subject.image().symbols() != before);
  CHECK(subject.Call("SubjectTwo") == 1000);
  CHECK(subject.Call("SubjectOne") == 1);
  CHECK(subject.Call("SubjectThree") == 3);
  CHECK(subject.Find("SubjectFour") == nullptr);
  CHECK(old() == 2);
  Dl_info info{};
  CHECK(dladdr(reinterpret_cast<void*>(old), &info) != 0);
}

TEST_CASE("Where the table cannot be written the second way takes over by itself, and doing it twice changes nothing") {
  const Subject subject;
  // A shared mapping of a file opened read-only can never be made writable, as on a system that forbids it.
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(subject.image().symbols()) & ~(page - 1);
  const auto end = reinterpret_cast<uintptr_t>(subject.image().symbols() + subject.image().symbol_count());
  const std::size_t bytes = (end - begin + page - 1) / page * page;
  test::TempFolder folder;
  const std::string copy = folder.Write("pages", std::string(reinterpret_cast<const char*>(begin), bytes));
  const int file = open(copy.c_str(), O_RDONLY);
  REQUIRE(mmap(reinterpret_cast<void*>(begin), bytes, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED);
  close(file);

  CHECK_FALSE(RedirectInPlace(subject.image(), HookOf, g_second));
  CHECK(subject.Call("SubjectTwo") == 2);
  CHECK(Redirect(subject.image(), HookOf, g_second) == Way::kCopiedTable);
  CHECK(subject.Call("SubjectTwo") == 1000);
  CHECK(Redirect(subject.image(), HookOf, g_second) == Way::kNothingToDo);
}

TEST_CASE("Nothing to redirect touches nothing") {
  const Subject subject;
  char none[] = "SubjectFour";
  CHECK(Redirect(subject.image(), HookOf, none) == Way::kNothingToDo);
}

}  // namespace partage::intercept::loader
