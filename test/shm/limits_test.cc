// SPDX-License-Identifier: Apache-2.0
#include "shm/limits.h"

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <thread>

#include "test/support/temp_folder.h"

namespace partage::shm {
namespace {

const char* const kFirst = "GPU-00112233-4455-6677-8899-aabbccddeeff";
const char* const kSecond = "MIG-ffeeddcc-bbaa-9988-7766-554433221100";

LimitsContent Two(std::uint64_t memory = 8ull << 30) {
  LimitsContent content;
  content.devices = 2;
  std::strcpy(content.device[0].uuid, kFirst);
  std::strcpy(content.device[1].uuid, kSecond);
  content.device[0].memory_bytes = memory;
  content.device[0].cores_percent = 30;
  content.device[1].flags = kSoftCores;
  return content;
}

bool IsSame(const LimitsContent& one, const LimitsContent& other) { return std::memcmp(&one, &other, sizeof one) == 0; }

std::string Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("Limits are read as they were written") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/limits";
  REQUIRE(WriteLimits(path.c_str(), Two()) == Fault::kNone);
  Limits limits;
  REQUIRE(limits.Open(path.c_str()) == Fault::kNone);
  LimitsContent read;
  REQUIRE(limits.Read(&read));
  CHECK(IsSame(read, Two()));
  CHECK(limits.MemoryBytes(0) == 8ull << 30);
  CHECK(limits.MemoryBytes(1) == kNoLimit);
}

TEST_CASE("A change reaches processes that have the file open") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/limits";
  REQUIRE(WriteLimits(path.c_str(), Two(100)) == Fault::kNone);
  Limits limits;
  REQUIRE(limits.Open(path.c_str()) == Fault::kNone);
  for (std::uint64_t memory : {200, 50, 300}) {
    const std::uint64_t before = limits.Generation();
    REQUIRE(WriteLimits(path.c_str(), Two(memory)) == Fault::kNone);
    CHECK(limits.Generation() != before);
    CHECK(limits.MemoryBytes(0) == memory);
  }
}

TEST_CASE("Limits without a file work the same") {
  Limits limits;
  REQUIRE(limits.OpenPrivate(Two(100)) == Fault::kNone);
  LimitsContent read;
  REQUIRE(limits.Read(&read));
  CHECK(IsSame(read, Two(100)));
  Limits refused;
  CHECK(refused.OpenPrivate(LimitsContent()) == Fault::kContent);
  CHECK_FALSE(refused.is_open());
}

TEST_CASE("A process lowers its own limit and never raises it") {
  Limits limits;
  REQUIRE(limits.OpenPrivate(Two(100)) == Fault::kNone);
  limits.LowerMemory(0, 200);
  CHECK(limits.MemoryBytes(0) == 100);
  limits.LowerMemory(0, 60);
  limits.LowerMemory(0, 80);
  CHECK(limits.MemoryBytes(0) == 60);
  LimitsContent read;
  REQUIRE(limits.Read(&read));
  CHECK(read.device[0].memory_bytes == 60);
  CHECK(read.device[1].memory_bytes == kNoLimit);
}

TEST_CASE("Devices are found by their UUID's bytes") {
  Limits limits;
  REQUIRE(limits.OpenPrivate(Two()) == Fault::kNone);
  unsigned char bytes[16];
  REQUIRE(ParseUuid(kSecond, bytes));
  CHECK(bytes[0] == 0xFF);
  CHECK(bytes[15] == 0x00);
  CHECK(limits.Find(bytes) == 1);
  REQUIRE(ParseUuid("00112233-4455-6677-8899-AABBCCDDEEFF", bytes));
  CHECK(limits.Find(bytes) == 0);
  bytes[7] ^= 1;
  CHECK(limits.Find(bytes) == -1);
}

TEST_CASE("What is no UUID is refused") {
  unsigned char bytes[16];
  for (std::size_t length = 0; length < std::strlen(kFirst); ++length)
    CHECK_FALSE(ParseUuid(std::string(kFirst).substr(0, length).c_str(), bytes));
  for (const char* text : {"GPU-00112233-4455-6677-8899-aabbccddeeff0", "GPU-00112233-4455-6677-8899-aabbccddeefg",
                           "GPU-0011223344556677-8899-aabbccddeeff", "XPU-00112233-4455-6677-8899-aabbccddeeff",
                           "gpu-00112233-4455-6677-8899-aabbccddeeff", "MIG-GPU-00112233-4455-6677-8899-aabbccddeeff/1/0"}) {
    CHECK_FALSE(ParseUuid(text, bytes));
  }
}

TEST_CASE("Values that cannot be limits are neither written nor used") {
  const auto refused = [](auto change) {
    const test::TempFolder folder;
    LimitsContent content = Two();
    change(content);
    const std::string path = folder.path() + "/limits";
    CHECK(FaultIn(content) != nullptr);
    CHECK(WriteLimits(path.c_str(), content) == Fault::kContent);
    CHECK(Bytes(path).empty());
  };
  CHECK(FaultIn(Two()) == nullptr);
  refused([](auto& c) { c.devices = 0; });
  refused([](auto& c) { c.devices = kMaxDevices + 1; });
  refused([](auto& c) { c.priority = 2; });
  refused([](auto& c) { c.policy = static_cast<CorePolicy>(3); });
  refused([](auto& c) { c.device[1].cores_percent = 101; });
  refused([](auto& c) { c.device[1].memory_bytes = 0; });
  refused([](auto& c) { c.device[1].flags = 4; });
  refused([](auto& c) { std::strcpy(c.device[1].uuid, kFirst); });
  refused([](auto& c) { std::strcpy(c.device[1].uuid, "0"); });
  refused([](auto& c) { std::memset(c.device[1].uuid, 'a', kUuidBytes); });
}

TEST_CASE("Readers see one version or the next while a writer works, never a mixture") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/limits";
  const auto version = [](std::uint64_t memory) {
    LimitsContent content = Two(memory);
    content.device[0].cores_percent = static_cast<std::uint32_t>(memory % 100);
    content.device[1].memory_bytes = memory;
    return content;
  };
  REQUIRE(WriteLimits(path.c_str(), version(1)) == Fault::kNone);
  Limits limits;
  REQUIRE(limits.Open(path.c_str()) == Fault::kNone);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (std::uint64_t memory = 2; !stop; ++memory) WriteLimits(path.c_str(), version(memory));
  });
  std::uint64_t last = 0;
  for (int reads = 0, changes = 0; reads < 20'000 || changes < 10; ++reads) {
    LimitsContent read;
    if (!limits.Read(&read)) FAIL("damaged");
    if (!IsSame(read, version(read.device[0].memory_bytes)) || read.device[0].memory_bytes < last) FAIL("a mixture");
    changes += read.device[0].memory_bytes != last;
    last = read.device[0].memory_bytes;
  }
  stop = true;
  writer.join();
}

TEST_CASE("A writer killed at any store leaves the limits as they were, and the next one writes") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/limits";
  REQUIRE(WriteLimits(path.c_str(), Two(100)) == Fault::kNone);
  const std::string before = Bytes(path);
  REQUIRE(WriteLimits(path.c_str(), Two(200)) == Fault::kNone);
  const std::string after = Bytes(path);
  // The stores are those of the copy, in order, then the sequence word: every prefix of the former is what a killed writer leaves.
  const std::size_t copy = offsetof(LimitsLayout, copies) + sizeof(LimitsCopy);
  for (std::size_t stored = 0; stored <= sizeof(LimitsCopy); stored += 8) {
    const std::string torn = before.substr(0, copy) + after.substr(copy, stored) + before.substr(copy + stored);
    folder.Write("limits", torn);
    Limits limits;
    REQUIRE(limits.Open(path.c_str()) == Fault::kNone);
    REQUIRE(limits.MemoryBytes(0) == 100);
    REQUIRE(WriteLimits(path.c_str(), Two(300)) == Fault::kNone);
    REQUIRE(limits.MemoryBytes(0) == 300);
  }
}

TEST_CASE("A file that becomes damaged while it is open keeps no one from the limits he had") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/limits";
  REQUIRE(WriteLimits(path.c_str(), Two(100)) == Fault::kNone);
  Limits limits;
  REQUIRE(limits.Open(path.c_str()) == Fault::kNone);
  LimitsContent content;
  REQUIRE(limits.Read(&content));
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(offsetof(LimitsLayout, copies) + 40).put('x');
  CHECK_FALSE(limits.Read(&content));
  CHECK(IsSame(content, Two(100)));
  CHECK(WriteLimits(path.c_str(), Two(200)) == Fault::kContent);
}

TEST_CASE("Damaged limits are refused or unchanged, never read wrongly") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/limits";
  REQUIRE(WriteLimits(path.c_str(), Two(100)) == Fault::kNone);
  const std::string whole = Bytes(path);
  REQUIRE(whole.size() == sizeof(LimitsLayout));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto put = [&](std::size_t at, int byte) { file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte)).flush(); };
  unsigned refused = 0;
  const auto damage = [&](std::size_t at) {
    put(at, whole[at] ^ 0x41);
    Limits limits;
    LimitsContent content;
    if (limits.Open(path.c_str()) != Fault::kNone) {
      ++refused;
    } else if (!limits.Read(&content) || !IsSame(content, Two(100))) {
      FAIL("byte " << at);
    }
    put(at, whole[at]);
  };
  for (std::size_t at = 0; at < offsetof(LimitsLayout, agent); ++at) damage(at);
  CHECK(refused == 33);  // the preamble, and the sequence byte that chooses the copy
  for (std::size_t at = 0; at < offsetof(LimitsCopy, checksum) + 8; ++at) damage(offsetof(LimitsLayout, copies) + at);
  CHECK(refused == 33 + offsetof(LimitsCopy, checksum) + 8);
}

TEST_CASE("A limits file of any other size is refused") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/limits";
  for (const std::size_t length : {std::size_t{0}, std::size_t{31}, std::size_t{32}, sizeof(LimitsLayout) - 1, sizeof(LimitsLayout) + 1}) {
    ::unlink(path.c_str());
    REQUIRE(WriteLimits(path.c_str(), Two()) == Fault::kNone);
    REQUIRE(::truncate(path.c_str(), static_cast<off_t>(length)) == 0);
    Limits limits;
    CHECK(limits.Open(path.c_str()) == Fault::kSize);
    CHECK(WriteLimits(path.c_str(), Two()) == Fault::kSize);
  }
}

}  // namespace partage::shm
