// SPDX-License-Identifier: Apache-2.0
#include "intercept/loader/elf.h"

#include <string.h>

namespace partage::intercept::loader {
namespace {

/// Bits of one word of the bloom filter.
constexpr std::uint32_t kWordBits = 8 * sizeof(ElfW(Addr));

std::uint32_t HashOf(const char* name) {
  std::uint32_t hash = 0;
  for (; *name != 0; ++name) {
    hash = (hash << 4) + static_cast<unsigned char>(*name);
    hash ^= hash >> 24 & 0xf0;
  }
  return hash & 0x0fffffff;
}

/// The parts of a DT_GNU_HASH table.
struct GnuHash {
  explicit GnuHash(const std::uint32_t* table) : buckets(table[0]), first(table[1]), bloom_words(table[2]), bloom_shift(table[3]) {
    bloom = reinterpret_cast<const ElfW(Addr)*>(table + 4);
    bucket = reinterpret_cast<const std::uint32_t*>(bloom + bloom_words);
    chain = bucket + buckets;
  }

  bool MayHave(std::uint32_t hash) const {
    const ElfW(Addr) word = bloom[hash / kWordBits % bloom_words];
    return (word >> hash % kWordBits & word >> (hash >> bloom_shift) % kWordBits & 1) != 0;
  }
  std::uint32_t ChainOf(std::uint32_t index) const { return chain[index - first]; }

  std::uint32_t buckets, first, bloom_words, bloom_shift;
  const ElfW(Addr) * bloom;
  const std::uint32_t* bucket;
  const std::uint32_t* chain;
};

/// Every symbol from the highest bucket's first to the end of its chain is in the table; those before `first` are the undefined ones.
std::size_t CountByGnuHash(const GnuHash& table) {
  std::uint32_t last = 0;
  for (std::uint32_t i = 0; i < table.buckets; ++i) last = table.bucket[i] > last ? table.bucket[i] : last;
  if (last < table.first) return table.first;
  while ((table.ChainOf(last) & 1) == 0) ++last;
  return std::size_t{last} + 1;
}

}  // namespace

ElfImage::ElfImage(ElfW(Addr) base, const ElfW(Dyn) * dynamic) : base_(base) {
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    if (dynamic->d_tag == DT_SYMTAB) symbol_table_entry_ = dynamic;
    if (dynamic->d_tag == DT_STRTAB) strings_ = reinterpret_cast<const char*>(dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_SONAME) soname_ = dynamic->d_un.d_val;
    if (dynamic->d_tag == DT_HASH) hash_ = reinterpret_cast<const std::uint32_t*>(dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_GNU_HASH) gnu_hash_ = reinterpret_cast<const std::uint32_t*>(dynamic->d_un.d_ptr);
  }
  if (symbol_table_entry_ == nullptr) return;
  // glibc has added the base to all these addresses; it does not where the section is read-only, and musl never does. The strings tell: the symbol
  // table's address may be that of a copy of ours anywhere in memory.
  offset_ = reinterpret_cast<ElfW(Addr)>(strings_) < base ? base : 0;
  symbols_ = reinterpret_cast<const ElfW(Sym)*>(symbol_table_entry_->d_un.d_ptr + offset_);
  const auto move = [this]<class T>(const T*& pointer) {
    if (pointer != nullptr) pointer = reinterpret_cast<const T*>(reinterpret_cast<ElfW(Addr)>(pointer) + offset_);
  };
  move(strings_);
  move(hash_);
  move(gnu_hash_);
}

bool ElfImage::Matches(std::uint32_t index, const char* name) const {
  const ElfW(Sym)& symbol = symbols_[index];
  return symbol.st_shndx != SHN_UNDEF && strcmp(NameOf(symbol), name) == 0;
}

const ElfW(Sym) * ElfImage::FindByGnuHash(const char* name) const {
  const GnuHash table(gnu_hash_);
  const std::uint32_t hash = GnuHashOf(name);
  if (table.buckets == 0 || !table.MayHave(hash)) return nullptr;
  std::uint32_t index = table.bucket[hash % table.buckets];
  if (index < table.first) return nullptr;
  for (;; ++index) {
    const std::uint32_t chained = table.ChainOf(index);
    if (((chained ^ hash) | 1) == 1 && Matches(index, name)) return &symbols_[index];
    if ((chained & 1) != 0) return nullptr;
  }
}

const ElfW(Sym) * ElfImage::FindByHash(const char* name) const {
  const std::uint32_t buckets = hash_[0];
  if (buckets == 0) return nullptr;
  const std::uint32_t* const chain = hash_ + 2 + buckets;
  for (std::uint32_t index = hash_[2 + HashOf(name) % buckets]; index != STN_UNDEF; index = chain[index]) {
    if (Matches(index, name)) return &symbols_[index];
  }
  return nullptr;
}

const ElfW(Sym) * ElfImage::Find(const char* name) const { return gnu_hash_ != nullptr ? FindByGnuHash(name) : FindByHash(name); }

ElfImage::HashedSymbols ElfImage::Hashed() const {
  if (gnu_hash_ == nullptr) return {1, nullptr};
  const GnuHash table(gnu_hash_);
  return {table.first, table.chain};
}

std::size_t ElfImage::symbol_count() const { return hash_ != nullptr ? hash_[1] : CountByGnuHash(GnuHash(gnu_hash_)); }

void* NextAfter(const void* own_address, const char* name) {
  const auto own = reinterpret_cast<ElfW(Addr)>(own_address);
  void* found = nullptr;
  // Load order is not address order: the object that holds an address is told by its segments, here by asking which image defines our own dlopen there.
  bool after = false;
  ForEachLoaded([&](const ElfImage& image, const char*) {
    if (!image.ok()) return true;
    const ElfW(Sym)* const symbol = image.Find(name);
    if (symbol == nullptr) return true;
    const auto address = reinterpret_cast<ElfW(Addr)>(image.AddressOf(*symbol));
    if (after) found = image.AddressOf(*symbol);
    after = after || address == own;
    return found == nullptr;
  });
  return found;
}

}  // namespace partage::intercept::loader
