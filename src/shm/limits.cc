// SPDX-License-Identifier: Apache-2.0
#include "shm/limits.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "shm/file.h"
#include "shm/layout_fields.h"

namespace partage::shm {
namespace {

constexpr Preamble kLimitsPreamble = {kLimitsMagic, kLimitsAbi, kByteOrderMark, kLimitsHash, sizeof(LimitsLayout)};
constexpr unsigned kWords = sizeof(LimitsContent) / 8;
constexpr unsigned kTries = 1000;  // the writer would have to write twice within each

struct Words {
  std::uint64_t word[kWords];
};

std::uint64_t ChecksumOf(const Words& words) {
  std::uint64_t hash = kHashStart;
  for (const std::uint64_t word : words.word) hash = (hash ^ word) * kHashPrime;  // no change of a single word leaves it as it was
  return hash;
}

Words WordsOf(const LimitsContent& content) {
  Words words;
  memcpy(&words, &content, sizeof words);
  return words;
}

void Store(LimitsCopy& copy, const LimitsContent& content) {
  const Words words = WordsOf(content);
  for (unsigned i = 0; i < kWords; ++i) copy.words[i].store(words.word[i], std::memory_order_relaxed);
  copy.checksum.store(ChecksumOf(words), std::memory_order_relaxed);
}

/// A word of the valid copy at the offset in LimitsContent.
std::uint64_t WordAt(const LimitsLayout& layout, std::size_t offset) {
  for (;;) {
    const std::uint64_t before = layout.sequence.load(std::memory_order_acquire);
    const std::uint64_t word = layout.copies[before % 2].words[offset / 8].load(std::memory_order_acquire);
    if (layout.sequence.load(std::memory_order_relaxed) == before) return word;
  }
}

bool ReadCopy(const LimitsLayout& layout, LimitsContent* content) {
  for (unsigned tries = kTries; tries > 0; --tries) {
    const std::uint64_t before = layout.sequence.load(std::memory_order_acquire);
    const LimitsCopy& copy = layout.copies[before % 2];
    Words words;
    for (unsigned i = 0; i < kWords; ++i) words.word[i] = copy.words[i].load(std::memory_order_acquire);
    const std::uint64_t checksum = copy.checksum.load(std::memory_order_acquire);
    if (layout.sequence.load(std::memory_order_relaxed) != before) continue;
    if (checksum != ChecksumOf(words)) return false;
    LimitsContent read;
    memcpy(static_cast<void*>(&read), &words, sizeof read);
    if (FaultIn(read) != nullptr) return false;
    *content = read;
    return true;
  }
  return false;
}

/// The file's first version, on zeroed memory.
void FillNew(LimitsLayout* layout, const LimitsContent& content) {
  const Preamble preamble = kLimitsPreamble;
  memcpy(static_cast<void*>(layout), &preamble, sizeof preamble);
  Store(layout->copies[0], content);
}

Fault MakeLimits(const char* path, const LimitsContent& content) {
  alignas(LimitsLayout) unsigned char bytes[sizeof(LimitsLayout)] = {};
  FillNew(reinterpret_cast<LimitsLayout*>(bytes), content);
  return MakeFile(path, bytes, sizeof bytes, sizeof bytes, true);
}

bool IsValid(const LimitsLayout& layout) {
  LimitsContent content;
  return ReadCopy(layout, &content);
}

/// One writer at a time.
void Rewrite(LimitsLayout* layout, const LimitsContent& content) {
  // Read by exchange: no new word may be seen before everybody reads the other copy.
  const std::uint64_t next = layout->sequence.fetch_add(0, std::memory_order_acq_rel) + 1;
  Store(layout->copies[next % 2], content);
  layout->sequence.store(next, std::memory_order_release);
}

Fault Overwrite(int fd, const LimitsContent& content) {
  auto* const layout = static_cast<LimitsLayout*>(MapFile(fd, sizeof(LimitsLayout), true));
  if (layout == nullptr || flock(fd, LOCK_EX) != 0) return Fault::kUnavailable;
  const Fault fault = IsValid(*layout) ? Fault::kNone : Fault::kContent;
  if (fault == Fault::kNone) Rewrite(layout, content);
  UnmapFile(layout, sizeof(LimitsLayout));
  return fault;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

const char* FaultIn(const DeviceLimits& device, unsigned char uuid[16]) {
  if (memchr(device.uuid, '\0', sizeof device.uuid) == nullptr || !ParseUuid(device.uuid, uuid)) return "a device's UUID is not a UUID";
  if (device.memory_bytes == 0) return "a device's memory limit is zero";
  if (device.cores_percent > 100) return "a device's cores are more than 100 %";
  if ((device.flags & ~(kSoftCores | kOversubscribe)) != 0) return "a device has an unknown flag";
  return nullptr;
}

}  // namespace

const char* FaultIn(const LimitsContent& content) {
  if (content.devices == 0 || content.devices > kMaxDevices) return "there must be 1 to 16 devices";
  if (content.policy > CorePolicy::kDisable) return "the core policy is unknown";
  if (content.priority > 1) return "the priority must be 0 or 1";
  unsigned char uuids[kMaxDevices][16];
  for (unsigned i = 0; i < content.devices; ++i) {
    const char* const fault = FaultIn(content.device[i], uuids[i]);
    if (fault != nullptr) return fault;
    for (unsigned j = 0; j < i; ++j) {
      if (memcmp(uuids[i], uuids[j], sizeof uuids[i]) == 0) return "two devices have the same UUID";
    }
  }
  return nullptr;
}

bool ParseUuid(const char* text, unsigned char bytes[16]) {
  if (strncmp(text, "GPU-", 4) == 0 || strncmp(text, "MIG-", 4) == 0) text += 4;
  unsigned char read[16];
  for (unsigned i = 0; i < 16; ++i) {
    if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-') return false;
    const int high = HexDigit(text[0]);
    const int low = high < 0 ? -1 : HexDigit(text[1]);
    if (low < 0) return false;
    read[i] = static_cast<unsigned char>(high << 4 | low);
    text += 2;
  }
  if (*text != '\0') return false;
  memcpy(bytes, read, sizeof read);
  return true;
}

bool IsSameUuid(const char* one, const char* other) {
  unsigned char first[16], second[16];
  return ParseUuid(one, first) && ParseUuid(other, second) && memcmp(first, second, sizeof first) == 0;
}

Fault Limits::Open(const char* path) {
  const KeepErrno keep;
  int fd = -1;
  const Fault fault = OpenFile(path, false, kLimitsPreamble, &fd);
  return fault != Fault::kNone ? fault : AdoptFile(fd);
}

Fault Limits::OpenDescriptor(int fd) {
  const KeepErrno keep;
  const Fault fault = TakeFile(false, kLimitsPreamble, &fd);
  return fault != Fault::kNone ? fault : AdoptFile(fd);
}

Fault Limits::OpenPrivate(const LimitsContent& content) {
  const KeepErrno keep;
  auto* const layout = static_cast<LimitsLayout*>(MapPrivate(sizeof(LimitsLayout)));
  if (layout != nullptr) FillNew(layout, content);
  return Adopt(layout);
}

Fault Limits::AdoptFile(int fd) {
  void* const mapped = MapFile(fd, sizeof(LimitsLayout), false);
  CloseFile(&fd);
  return Adopt(mapped);
}

Fault Limits::Adopt(void* mapped) {
  auto* const layout = static_cast<const LimitsLayout*>(mapped);
  if (layout == nullptr) return Fault::kUnavailable;
  if (!IsValid(*layout)) {
    UnmapFile(mapped, sizeof(LimitsLayout));
    return Fault::kContent;
  }
  layout_ = layout;
  return Fault::kNone;
}

bool Limits::Read(LimitsContent* content) const {
  if (!ReadCopy(*layout_, content)) return false;
  for (unsigned i = 0; i < content->devices; ++i) {
    const std::uint64_t lowered = at_most_[i].load(std::memory_order_relaxed);
    if (lowered < content->device[i].memory_bytes) content->device[i].memory_bytes = lowered;
  }
  return true;
}

std::uint64_t Limits::MemoryBytes(unsigned device) const {
  const std::uint64_t granted =
      WordAt(*layout_, offsetof(LimitsContent, device) + device * sizeof(DeviceLimits) + offsetof(DeviceLimits, memory_bytes));
  const std::uint64_t lowered = at_most_[device].load(std::memory_order_relaxed);
  return lowered < granted ? lowered : granted;
}

void Limits::LowerMemory(unsigned device, std::uint64_t bytes) {
  std::uint64_t now = at_most_[device].load(std::memory_order_relaxed);
  while (bytes < now && !at_most_[device].compare_exchange_weak(now, bytes, std::memory_order_relaxed)) {
  }
}

int Limits::Find(const unsigned char uuid[16]) const {
  LimitsContent content;
  if (!ReadCopy(*layout_, &content)) return -1;
  for (unsigned i = 0; i < content.devices; ++i) {
    unsigned char bytes[16];
    if (ParseUuid(content.device[i].uuid, bytes) && memcmp(bytes, uuid, sizeof bytes) == 0) return static_cast<int>(i);
  }
  return -1;
}

Fault WriteLimits(const char* path, const LimitsContent& content) {
  if (FaultIn(content) != nullptr) return Fault::kContent;
  int fd = -1;
  const Fault found = OpenFile(path, true, kLimitsPreamble, &fd);
  if (found == Fault::kMissing) return MakeLimits(path, content);
  if (found != Fault::kNone) return found;
  const Fault fault = Overwrite(fd, content);
  CloseFile(&fd);
  return fault;
}

LimitsMemory::~LimitsMemory() {
  UnmapFile(layout_, sizeof(LimitsLayout));
  CloseFile(&fd_);
}

Fault LimitsMemory::Make(const LimitsContent& content) {
  if (FaultIn(content) != nullptr) return Fault::kContent;
  alignas(LimitsLayout) unsigned char bytes[sizeof(LimitsLayout)] = {};
  FillNew(reinterpret_cast<LimitsLayout*>(bytes), content);
  void* mapped = nullptr;
  const Fault fault = MakeReadOnly(bytes, sizeof bytes, &mapped, &fd_);
  layout_ = static_cast<LimitsLayout*>(mapped);
  return fault;
}

Fault LimitsMemory::Write(const LimitsContent& content) {
  if (FaultIn(content) != nullptr) return Fault::kContent;
  Rewrite(layout_, content);
  return Fault::kNone;
}

}  // namespace partage::shm
