// SPDX-License-Identifier: Apache-2.0
#include "intercept/loader/redirect.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace partage::intercept::loader {
namespace {

/// What the program headers say of one address.
struct Segment {
  ElfW(Addr) begin = 0;  // from the load offset
  size_t bytes = 0;
  int protection = PROT_READ;  // as loaded
  bool relro = false;          // made read-only after relocation
};

bool Contains(const ElfW(Phdr) & header, ElfW(Addr) offset) { return offset >= header.p_vaddr && offset - header.p_vaddr < header.p_memsz; }

Segment SegmentFrom(const ElfW(Phdr) * headers, unsigned count, ElfW(Addr) offset) {
  Segment segment;
  for (unsigned i = 0; i < count; ++i) {
    if (!Contains(headers[i], offset)) continue;
    const auto flags = headers[i].p_flags;
    if (headers[i].p_type == PT_LOAD) {
      segment.begin = headers[i].p_vaddr;
      segment.bytes = headers[i].p_memsz;
      segment.protection = PROT_READ | ((flags & PF_W) != 0 ? PROT_WRITE : 0) | ((flags & PF_X) != 0 ? PROT_EXEC : 0);
    }
    if (headers[i].p_type == PT_GNU_RELRO) segment.relro = true;
  }
  return segment;
}

struct SegmentQuery {
  ElfW(Addr) base;
  ElfW(Addr) offset;
  Segment segment;
};

int AnswerSegmentQuery(dl_phdr_info* info, size_t, void* argument) {
  auto* const query = static_cast<SegmentQuery*>(argument);
  if (info->dlpi_addr != query->base) return 0;
  query->segment = SegmentFrom(info->dlpi_phdr, info->dlpi_phnum, query->offset);
  return 1;
}

/// Objects of another namespace are not listed; their headers lie at the start of the mapping.
Segment SegmentOf(const ElfImage& image, const void* address) {
  SegmentQuery query{image.base(), reinterpret_cast<ElfW(Addr)>(address) - image.base(), {}};
  if (dl_iterate_phdr(AnswerSegmentQuery, &query) != 0 || image.base() == 0) return query.segment;
  const auto* const header = reinterpret_cast<const ElfW(Ehdr)*>(image.base());
  if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return query.segment;
  return SegmentFrom(reinterpret_cast<const ElfW(Phdr)*>(image.base() + header->e_phoff), header->e_phnum, query.offset);
}

/// Not the C library's mprotect: it hands an int on to the kernel as it came, and the upper half of the register may hold anything.
bool Protect(void* begin, size_t bytes, int protection) {
  return syscall(SYS_mprotect, begin, bytes, static_cast<unsigned long>(static_cast<unsigned>(protection))) == 0;
}

/// Whole pages around some bytes, writable while this lives and then as they were.
class MadeWritable {
 public:
  MadeWritable(const void* begin, size_t bytes, int protection) : protection_(protection) {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto first = reinterpret_cast<uintptr_t>(begin) & ~(page - 1);
    begin_ = reinterpret_cast<void*>(first);
    bytes_ = (reinterpret_cast<uintptr_t>(begin) + bytes - first + page - 1) & ~(page - 1);
    ok_ = (protection & PROT_WRITE) != 0 || Protect(begin_, bytes_, protection | PROT_WRITE);
  }
  ~MadeWritable() {
    if (ok_ && (protection_ & PROT_WRITE) == 0) Protect(begin_, bytes_, protection_);
  }
  MadeWritable(const MadeWritable&) = delete;
  MadeWritable& operator=(const MadeWritable&) = delete;

  bool ok() const { return ok_; }

 private:
  int protection_;
  void* begin_;
  size_t bytes_;
  bool ok_;
};

bool IsFunction(const ElfW(Sym) & symbol) {
  return symbol.st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC;  // the 32-bit macro is the same
}

/// Calls change(index, address to lead to) for each symbol that is to lead elsewhere, until it says false.
template <class Change>
void ForEachChange(const ElfImage& image, Target target, void* context, Change&& change) {
  const size_t count = image.symbol_count();
  for (size_t i = 1; i < count; ++i) {
    const ElfW(Sym)& symbol = image.symbols()[i];
    if (!IsFunction(symbol)) continue;
    void* const address = image.AddressOf(symbol);
    void* const to = target(image.NameOf(symbol), address, context);
    if (to != nullptr && to != address && !change(i, to)) return;
  }
}

bool IsAnythingToDo(const ElfImage& image, Target target, void* context) {
  bool any = false;
  ForEachChange(image, target, context, [&](size_t, void*) {
    any = true;
    return false;
  });
  return any;
}

/// Rewrites `table`, which is the image's own or a copy of it.
void Rewrite(const ElfImage& image, ElfW(Sym) * table, Target target, void* context) {
  ForEachChange(image, target, context, [&](size_t i, void* to) {
    __atomic_store_n(&table[i].st_value, reinterpret_cast<ElfW(Addr)>(to) - image.base(), __ATOMIC_RELEASE);
    return true;
  });
}

}  // namespace

bool RedirectInPlace(const ElfImage& image, Target target, void* context) {
  auto* const table = const_cast<ElfW(Sym)*>(image.symbols());
  const Segment segment = SegmentOf(image, table);
  const void* begin = table;
  size_t bytes = image.symbol_count() * sizeof(*table);
  // All of the segment, so that the kernel need not take its mapping apart and put it together again; but never more code than must be.
  if (segment.bytes > 0 && segment.protection == PROT_READ) {
    begin = reinterpret_cast<const void*>(image.base() + segment.begin);
    bytes = segment.bytes;
  }
  const MadeWritable writable(begin, bytes, segment.protection);
  if (!writable.ok()) return false;
  Rewrite(image, table, target, context);
  return true;
}

bool RedirectByCopy(const ElfImage& image, Target target, void* context) {
  const size_t bytes = image.symbol_count() * sizeof(ElfW(Sym));
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  memcpy(memory, image.symbols(), bytes);
  Rewrite(image, static_cast<ElfW(Sym)*>(memory), target, context);
  Protect(memory, bytes, PROT_READ);

  auto* const entry = const_cast<ElfW(Dyn)*>(image.symbol_table_entry());
  const Segment segment = SegmentOf(image, entry);
  const MadeWritable writable(entry, sizeof(*entry), segment.relro ? segment.protection & ~PROT_WRITE : segment.protection);
  if (!writable.ok()) {
    munmap(memory, bytes);
    return false;
  }
  __atomic_store_n(&entry->d_un.d_ptr, image.EntryFor(memory), __ATOMIC_RELEASE);
  return true;
}

Way Redirect(const ElfImage& image, Target target, void* context) {
  if (!IsAnythingToDo(image, target, context)) return Way::kNothingToDo;
  if (RedirectInPlace(image, target, context)) return Way::kInPlace;
  return RedirectByCopy(image, target, context) ? Way::kCopiedTable : Way::kFailed;
}

}  // namespace partage::intercept::loader
