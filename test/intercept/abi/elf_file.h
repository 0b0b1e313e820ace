// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <elf.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace partage::test {

/// A shared object as it lies on disk, 64-bit and little-endian, read through its program headers and dynamic section: what a loader will see.
class ElfFile {
 public:
  /// Throws std::runtime_error when it is not such a file.
  explicit ElfFile(const std::string& path);

  std::size_t bytes() const { return content_.size(); }
  std::uint16_t machine() const { return header().e_machine; }
  std::set<std::string> needed() const;
  std::string soname() const;
  bool HasDynamicTag(std::int64_t tag) const;
  std::uint64_t DynamicValue(std::int64_t tag) const;  ///< 0 when absent

  struct Symbol {
    std::string name;
    std::string version;  ///< of an undefined one, what it asks for; empty: none
    bool defined;
    bool function;
    bool weak;
    std::uint64_t address;
  };
  std::vector<Symbol> symbols() const;
  std::set<std::string> exports() const;  ///< names of the defined functions

  /// Number of relocations the loader works through before the program starts.
  std::size_t relocations() const { return relocated().size(); }
  /// The addresses they write.
  std::vector<std::uint64_t> relocated() const;
  const Elf64_Phdr* Segment(std::uint32_t type) const;
  std::vector<Elf64_Phdr> segments() const;

 private:
  const Elf64_Ehdr& header() const { return *At<Elf64_Ehdr>(0); }
  template <class T>
  const T* At(std::uint64_t offset) const {
    return reinterpret_cast<const T*>(content_.data() + offset);
  }
  std::uint64_t OffsetOf(std::uint64_t address) const;
  std::vector<Elf64_Dyn> dynamic() const;
  std::string String(std::uint64_t offset) const;
  std::size_t SymbolCount() const;
  std::vector<std::string> NeededVersions() const;  // by version index

  std::string content_;
};

}  // namespace partage::test
