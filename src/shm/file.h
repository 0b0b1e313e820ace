// SPDX-License-Identifier: Apache-2.0
// Opening, making and mapping the two kinds of file. What both headers begin with is checked here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm/fault.h"

namespace partage::shm {

/// The first 32 bytes of every file of ours, whatever its version.
struct Preamble {
  std::uint64_t magic;
  std::uint32_t abi;
  std::uint32_t byte_order;
  std::uint64_t layout_hash;
  std::uint64_t size;
};

/// What is wrong with a preamble; kNone when nothing.
Fault FaultIn(const Preamble& found, const Preamble& expected);

/// Opens a file of exactly `expected.size` bytes that begins with `expected`; the descriptor goes to `fd`, out of the way of small numbers,
/// closed on exec. kMissing, kPermission, kNotAFile, kSize, kMagic, kByteOrder, kAbi, kLayout, kUnavailable.
Fault OpenFile(const char* path, bool writable, const Preamble& expected, int* fd);

/// The same for a descriptor that somebody handed over, at the price of no name: `*fd` is checked and moved out of the way, or closed and -1 when it is not
/// what it should be. kPermission when it is not open for what is wanted; else as OpenFile.
Fault TakeFile(bool writable, const Preamble& expected, int* fd);

/// Makes a file of `size` zero bytes beginning with `head`, first under another name. Without `replace`, kNone too when somebody else made
/// it meanwhile.
Fault MakeFile(const char* path, const void* head, std::size_t head_size, std::size_t size, bool replace);

/// Stands where a file is made that many processes miss at the same moment: one makes it while the others wait, at most 100 ms (whoever makes it may have
/// been stopped; making it twice is only wasteful). A lock on its folder, which the kernel drops at the maker's end.
class MakersTurn {
 public:
  explicit MakersTurn(const char* path);
  ~MakersTurn();
  MakersTurn(const MakersTurn&) = delete;
  MakersTurn& operator=(const MakersTurn&) = delete;

 private:
  int fd_ = -1;
};

/// A file as MakeFile's without a name: in memory, gone with the last process. kUnavailable.
Fault MakeNameless(const void* head, std::size_t head_size, std::size_t size, int* fd);

/// A file in memory with these bytes that only the caller can change, through `mapped`: whoever else is given the descriptor can read and map it, and change
/// nothing, even if he opens it anew for writing. kUnavailable.
Fault MakeReadOnly(const void* bytes, std::size_t size, void** mapped, int* fd);

/// Maps a whole file, shared. nullptr when the system refuses.
void* MapFile(int fd, std::size_t size, bool writable);

/// Zeroed memory of this process alone. nullptr when the system refuses.
void* MapPrivate(std::size_t size);

/// Undoes both; nothing for nullptr.
void UnmapFile(void* mapped, std::size_t size);

/// Tells files apart; 0 when the descriptor is not open.
std::uint64_t FileId(int fd);

/// Closes it, unless negative; -1 afterwards.
void CloseFile(int* fd);

}  // namespace partage::shm
