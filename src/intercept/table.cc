// SPDX-License-Identifier: Apache-2.0
#include "intercept/table.h"

#include <string.h>

#include "intercept/hook_table.h"
#include "intercept/loader/elf.h"

namespace partage::intercept {

void* g_real[kRows];

// By which the linker names the ends of a section.
extern "C" [[gnu::visibility("hidden")]] AnyHook __start_partage_hooks[], __stop_partage_hooks[];

namespace {

#define PARTAGE_NVML_FUNCTION PARTAGE_CUDA_FUNCTION
// One string and offsets instead of a table of pointers, which the loader would have to relocate in every process.
constexpr char kNames[] =
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) #name "\0"
#include "intercept/api/cuda_functions.inc"
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
    ;

struct Offsets {
  std::uint16_t of[kRows];
};

consteval Offsets FindOffsets() {
  Offsets offsets{};
  std::uint16_t at = 0;
  for (unsigned row = 0; row < kRows; ++row) {
    offsets.of[row] = at;
    while (kNames[at] != 0) ++at;
    ++at;
  }
  return offsets;
}
constexpr Offsets kOffsets = FindOffsets();
static_assert(sizeof(kNames) < 0x10000);

#undef PARTAGE_NVML_FUNCTION

/// Rows by the hashes of their names, made by the compiler: each process of a container looks some thousand symbols up when it starts.
class RowsByHash {
 public:
  consteval RowsByHash() {
    for (unsigned row = 0; row < kRows; ++row) {
      hashes_[row] = loader::GnuHashOf(kNames + kOffsets.of[row]) | 1;
      unsigned i = SlotOf(hashes_[row]);
      while (rows_[i] != 0) i = (i + 1) % kSlots;
      rows_[i] = static_cast<std::uint16_t>(row + 1);
    }
  }

  int Find(std::uint32_t hash, const char* name) const {
    for (unsigned i = SlotOf(hash | 1); rows_[i] != 0; i = (i + 1) % kSlots) {
      const unsigned row = rows_[i] - 1U;
      if (hashes_[row] == (hash | 1) && strcmp(kNames + kOffsets.of[row], name) == 0) return static_cast<int>(row);
    }
    return -1;
  }

 private:
  static constexpr unsigned kSlots = 2048;
  static_assert(kRows * 2 <= kSlots);

  static constexpr unsigned SlotOf(std::uint32_t hash) { return hash * 0x9E3779B9U >> 21; }

  std::uint16_t rows_[kSlots] = {};  // row + 1; 0: free
  std::uint32_t hashes_[kRows] = {};
};
constexpr RowsByHash kRowsByHash;

}  // namespace

int RowNamed(std::uint32_t hash, const char* name) { return kRowsByHash.Find(hash, name); }

const AnyHook* Hooks::begin() const { return __start_partage_hooks; }

const AnyHook* Hooks::end() const { return __stop_partage_hooks; }

}  // namespace partage::intercept
