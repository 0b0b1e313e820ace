// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/abi/elf_file.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace partage::test {

ElfFile::ElfFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  content_.assign(std::istreambuf_iterator<char>(file), {});
  if (content_.size() < sizeof(Elf64_Ehdr) || std::memcmp(content_.data(), ELFMAG, SELFMAG) != 0 || content_[EI_CLASS] != ELFCLASS64) {
    throw std::runtime_error(path + " is not a 64-bit ELF file");
  }
}

std::vector<Elf64_Phdr> ElfFile::segments() const {
  const auto* const first = At<Elf64_Phdr>(header().e_phoff);
  return {first, first + header().e_phnum};
}

const Elf64_Phdr* ElfFile::Segment(std::uint32_t type) const {
  const auto* const first = At<Elf64_Phdr>(header().e_phoff);
  for (int i = 0; i < header().e_phnum; ++i) {
    if (first[i].p_type == type) return &first[i];
  }
  return nullptr;
}

std::uint64_t ElfFile::OffsetOf(std::uint64_t address) const {
  for (const Elf64_Phdr& segment : segments()) {
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr && address < segment.p_vaddr + segment.p_filesz) {
      return address - segment.p_vaddr + segment.p_offset;
    }
  }
  throw std::runtime_error("an address outside every segment");
}

std::vector<Elf64_Dyn> ElfFile::dynamic() const {
  const Elf64_Phdr* const segment = Segment(PT_DYNAMIC);
  if (segment == nullptr) throw std::runtime_error("no dynamic section");
  const auto* const first = At<Elf64_Dyn>(segment->p_offset);
  const auto* last = first;
  while (last->d_tag != DT_NULL) ++last;
  return {first, last};
}

bool ElfFile::HasDynamicTag(std::int64_t tag) const {
  for (const Elf64_Dyn& entry : dynamic()) {
    if (entry.d_tag == tag) return true;
  }
  return false;
}

std::uint64_t ElfFile::DynamicValue(std::int64_t tag) const {
  for (const Elf64_Dyn& entry : dynamic()) {
    if (entry.d_tag == tag) return entry.d_un.d_val;
  }
  return 0;
}

std::string ElfFile::String(std::uint64_t offset) const { return At<char>(OffsetOf(DynamicValue(DT_STRTAB)) + offset); }

std::set<std::string> ElfFile::needed() const {
  std::set<std::string> names;
  for (const Elf64_Dyn& entry : dynamic()) {
    if (entry.d_tag == DT_NEEDED) names.insert(String(entry.d_un.d_val));
  }
  return names;
}

std::string ElfFile::soname() const { return HasDynamicTag(DT_SONAME) ? String(DynamicValue(DT_SONAME)) : ""; }

/// The string table follows the symbol table in every file a linker of today makes; the hash table says the number outright where there is one.
std::size_t ElfFile::SymbolCount() const {
  if (HasDynamicTag(DT_HASH)) return At<std::uint32_t>(OffsetOf(DynamicValue(DT_HASH)))[1];
  throw std::runtime_error("no DT_HASH");
}

std::vector<std::string> ElfFile::NeededVersions() const {
  std::vector<std::string> versions(2);
  if (!HasDynamicTag(DT_VERNEED)) return versions;
  std::uint64_t file = OffsetOf(DynamicValue(DT_VERNEED));
  for (std::uint64_t i = 0; i < DynamicValue(DT_VERNEEDNUM); ++i) {
    const auto* const need = At<Elf64_Verneed>(file);
    std::uint64_t at = file + need->vn_aux;
    for (int j = 0; j < need->vn_cnt; ++j) {
      const auto* const version = At<Elf64_Vernaux>(at);
      if (versions.size() <= version->vna_other) versions.resize(version->vna_other + 1);
      versions[version->vna_other] = String(version->vna_name);
      at += version->vna_next;
    }
    file += need->vn_next;
  }
  return versions;
}

std::vector<ElfFile::Symbol> ElfFile::symbols() const {
  const auto* const table = At<Elf64_Sym>(OffsetOf(DynamicValue(DT_SYMTAB)));
  const auto* const version = HasDynamicTag(DT_VERSYM) ? At<std::uint16_t>(OffsetOf(DynamicValue(DT_VERSYM))) : nullptr;
  const std::vector<std::string> needed_versions = NeededVersions();
  std::vector<Symbol> symbols;
  for (std::size_t i = 1; i < SymbolCount(); ++i) {
    const bool defined = table[i].st_shndx != SHN_UNDEF;
    const std::size_t index = version != nullptr ? version[i] & 0x7fffU : 0;
    symbols.push_back({String(table[i].st_name), !defined && index < needed_versions.size() ? needed_versions[index] : "", defined,
                       ELF64_ST_TYPE(table[i].st_info) == STT_FUNC, ELF64_ST_BIND(table[i].st_info) == STB_WEAK, table[i].st_value});
  }
  return symbols;
}

std::set<std::string> ElfFile::exports() const {
  std::set<std::string> names;
  for (const Symbol& symbol : symbols()) {
    if (symbol.defined && symbol.function) names.insert(symbol.name);
  }
  return names;
}

std::vector<std::uint64_t> ElfFile::relocated() const {
  std::vector<std::uint64_t> addresses;
  for (const auto& [table, size] : {std::pair{DT_RELA, DT_RELASZ}, std::pair{DT_JMPREL, DT_PLTRELSZ}}) {
    if (!HasDynamicTag(table)) continue;
    const auto* const first = At<Elf64_Rela>(OffsetOf(DynamicValue(table)));
    for (std::size_t i = 0; i < DynamicValue(size) / sizeof(Elf64_Rela); ++i) addresses.push_back(first[i].r_offset);
  }
  return addresses;
}

}  // namespace partage::test
