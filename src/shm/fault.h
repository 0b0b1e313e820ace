// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace partage::shm {

/// Why a file, or the agent's socket, was not used. Nothing is changed on disk when an operation answers anything but kNone.
enum class Fault : std::uint32_t {
  kNone,         ///< it worked
  kMissing,      ///< no such file or folder
  kPermission,   ///< the file system does not let us
  kNotAFile,     ///< a folder, a link, a pipe, a device
  kSize,         ///< cut short or grown: not the size every such file has
  kMagic,        ///< not one of our files
  kByteOrder,    ///< written on a machine of the other byte order
  kAbi,          ///< another ABI number: made by an older or newer version
  kLayout,       ///< same ABI number but another layout: a broken build
  kContent,      ///< the header is right and the content is not: damaged
  kFull,         ///< every process slot is taken
  kUnavailable,  ///< the system refused (no memory, no file descriptor)
  kSilent,       ///< nobody answered in time at the socket
  kAnswer,       ///< what came from the socket is not of our protocol
};

/// One clause in English without a full stop, fit for "cannot use FILE: …". Static storage.
const char* Describe(Fault fault);

}  // namespace partage::shm
