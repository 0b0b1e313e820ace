// SPDX-License-Identifier: Apache-2.0
#include "shm/fault.h"

namespace partage::shm {

const char* Describe(Fault fault) {
  switch (fault) {
    case Fault::kNone: return "nothing is wrong with it";
    case Fault::kMissing: return "there is no such file or folder";
    case Fault::kPermission: return "permission denied";
    case Fault::kNotAFile: return "it is not a regular file";
    case Fault::kSize: return "its size is not that of such a file: it was cut short, or it is another kind of file";
    case Fault::kMagic: return "it is not a Partage file of this kind";
    case Fault::kByteOrder: return "it was written on a machine of the other byte order";
    case Fault::kAbi: return "its ABI number is another one: it was made by an older or newer version";
    case Fault::kLayout: return "its layout is not the one of its ABI number: it was made by a broken build";
    case Fault::kContent: return "its content is damaged";
    case Fault::kFull: return "every process slot is taken";
    case Fault::kUnavailable: return "the system refused memory, a descriptor or a record lock";
    case Fault::kSilent: return "nobody answered there in time: the node agent is not running, or it hangs";
    case Fault::kAnswer: return "what was answered there is not of our protocol: the node agent is of another version, or it is none";
  }
  return "unknown fault";
}

}  // namespace partage::shm
