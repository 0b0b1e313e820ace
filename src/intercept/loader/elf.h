// SPDX-License-Identifier: Apache-2.0
// A loaded shared object as the dynamic loader sees it: its symbol table, found through the dynamic section, read and searched without asking libc.
#pragma once

#include <elf.h>
#include <link.h>

#include <cstddef>
#include <cstdint>

namespace partage::intercept::loader {

/// The hash of a name in a DT_GNU_HASH table (which uses the lowest bit otherwise).
constexpr std::uint32_t GnuHashOf(const char* name) {
  std::uint32_t hash = 5381;
  for (; *name != 0; ++name) hash = hash * 33 + static_cast<unsigned char>(*name);
  return hash;
}

/// A view of one loaded object. Plain values that point into the object; valid while it stays loaded. Immutable.
class ElfImage {
 public:
  /// The object whose load offset is `base` and whose dynamic section is `dynamic`; also with a loader that leaves the section's addresses
  /// relative. Check ok() before anything else.
  ElfImage(ElfW(Addr) base, const ElfW(Dyn) * dynamic);

  /// Whether it has what the functions below need: symbols, their names and at least one hash table.
  bool ok() const { return symbols_ != nullptr && strings_ != nullptr && (hash_ != nullptr || gnu_hash_ != nullptr); }

  ElfW(Addr) base() const { return base_; }

  /// The name by which others ask the loader for it; empty when it has none. REQUIRES: ok().
  const char* soname() const { return strings_ + soname_; }

  /// The defined symbol of that name, or null. Of several versions of one name the first in the table.
  const ElfW(Sym) * Find(const char* name) const;

  /// Calls visit(symbol, GNU hash of its name but for the lowest bit) for each defined symbol that Find could find, in the table's order. For many
  /// names this is cheaper than Find: everything is read once and in order. REQUIRES: ok().
  template <class Visit>
  void ForEachDefined(Visit&& visit) const {
    const std::size_t count = symbol_count();
    const HashedSymbols hashed = Hashed();
    for (std::size_t i = hashed.first; i < count; ++i) {
      const ElfW(Sym)& symbol = symbols_[i];
      if (symbol.st_shndx == SHN_UNDEF) continue;
      visit(symbol, hashed.hashes != nullptr ? hashed.hashes[i - hashed.first] : GnuHashOf(NameOf(symbol)));
    }
  }

  /// Where a defined symbol lies in memory.
  void* AddressOf(const ElfW(Sym) & symbol) const { return reinterpret_cast<void*>(base_ + symbol.st_value); }

  /// The whole symbol table; entry 0 is void.
  const ElfW(Sym) * symbols() const { return symbols_; }
  std::size_t symbol_count() const;
  const char* NameOf(const ElfW(Sym) & symbol) const { return strings_ + symbol.st_name; }

  /// The entry of the dynamic section that says where the symbol table is, and what it must say for a table at this address. The loader reads it at
  /// every look-up.
  const ElfW(Dyn) * symbol_table_entry() const { return symbol_table_entry_; }
  ElfW(Addr) EntryFor(const void* table) const { return reinterpret_cast<ElfW(Addr)>(table) - offset_; }

 private:
  struct HashedSymbols {
    std::size_t first;            // symbols before it are not for others to find
    const std::uint32_t* hashes;  // from `first` on; null: the object has none of this kind
  };
  HashedSymbols Hashed() const;
  bool Matches(std::uint32_t index, const char* name) const;
  const ElfW(Sym) * FindByGnuHash(const char* name) const;
  const ElfW(Sym) * FindByHash(const char* name) const;

  ElfW(Addr) base_;
  ElfW(Addr) offset_ = 0;  // what is to be added to the addresses in the dynamic section
  const ElfW(Sym) * symbols_ = nullptr;
  const char* strings_ = nullptr;
  ElfW(Addr) soname_ = 0;                    // 0 is the empty string
  const std::uint32_t* hash_ = nullptr;      // DT_HASH: buckets, chains, bucket[], chain[]
  const std::uint32_t* gnu_hash_ = nullptr;  // DT_GNU_HASH: buckets, first symbol, bloom words, bloom shift, bloom[], bucket[], chain[]
  const ElfW(Dyn) * symbol_table_entry_ = nullptr;
};

/// Calls visit(image, path) for the objects of our own namespace in the loader's order, from the first to the last or until visit says false.
template <class Visit>
void ForEachLoaded(Visit&& visit) {
  const auto each = [](dl_phdr_info* info, std::size_t, void* argument) {
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
      const ElfImage image(info->dlpi_addr, reinterpret_cast<const ElfW(Dyn)*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr));
      return (*static_cast<Visit*>(argument))(image, info->dlpi_name) ? 0 : 1;
    }
    return 0;
  };
  dl_iterate_phdr(each, &visit);
}

/// The address of `name` in the first object loaded after the one that holds `own_address`, as dlsym(RTLD_NEXT) would find it; null when none has it.
void* NextAfter(const void* own_address, const char* name);

}  // namespace partage::intercept::loader
