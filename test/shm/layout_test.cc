// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "shm/layout_fields.h"

namespace partage::shm {
namespace {

std::string Row(const Field& field) {
  std::ostringstream row;
  row << "| `" << field.name << "` | " << field.offset << " | " << field.size << " | " << field.repeats << " |";
  return row.str();
}

std::string Hex(std::uint64_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << value;
  return text.str();
}

std::string Documentation() {
  std::ifstream page(std::string(PARTAGE_DOCS) + "/region.md");
  return {std::istreambuf_iterator<char>(page), {}};
}

template <std::size_t kCount>
void CheckDocumented(const Field (&fields)[kCount]) {
  const std::string page = Documentation();
  for (const Field& field : fields) {
    INFO("docs/region.md lacks the row: " << Row(field));
    CHECK(page.find(Row(field)) != std::string::npos);
  }
}

}  // namespace

// When one of these fails, bytes moved: files made before are read wrongly. Give the file a new ABI number, then write the new hash here.
TEST_CASE("The layouts are those of their ABI numbers") {
  CHECK(kRegionAbi == 3);
  CHECK(Hex(kRegionHash) == "0x223a848828219cd8");
  CHECK(sizeof(RegionLayout) == 2'764'800);
  CHECK(kLimitsAbi == 2);
  CHECK(Hex(kLimitsHash) == "0x2033209a4bf9086");
  CHECK(sizeof(LimitsLayout) == 8'192);
  CHECK(kAgentVersion == 1);
  CHECK(Hex(LayoutHash(kAgentFields, sizeof(AgentRequest) + sizeof(AgentReply))) == "0xe0bac66aedfedab8");
  CHECK(sizeof(AgentRequest) == 56);
  CHECK(sizeof(AgentReply) == 128);
}

TEST_CASE("A word is hashed as its bytes are, also where all are zero") {
  for (const std::uint64_t word : std::initializer_list<std::uint64_t>{0, 1, 0x8000000000000000, 0x1234000056780000}) {
    std::uint64_t by_bytes = kHashStart;
    for (unsigned shift = 0; shift < 64; shift += 8) by_bytes = HashByte(by_bytes, static_cast<std::uint8_t>(word >> shift));
    CHECK(HashWord(kHashStart, word) == by_bytes);
  }
}

TEST_CASE("Another offset, size, repetition or name is another layout hash") {
  const Field before[] = {{"a", 0, 8, 1}, {"b", 8, 8, 1}};
  const Field moved[] = {{"a", 0, 8, 1}, {"b", 16, 8, 1}};
  const Field wider[] = {{"a", 0, 8, 1}, {"b", 8, 16, 1}};
  const Field longer[] = {{"a", 0, 8, 1}, {"b", 8, 8, 2}};
  const Field renamed[] = {{"a", 0, 8, 1}, {"c", 8, 8, 1}};
  const Field swapped[] = {{"b", 0, 8, 1}, {"a", 8, 8, 1}};
  const std::uint64_t hash = LayoutHash(before, 16);
  for (const auto& other : {moved, wider, longer, renamed, swapped}) CHECK(LayoutHash({other[0], other[1]}, 16) != hash);
  CHECK(LayoutHash(before, 24) != hash);
  CHECK(LayoutHash(before, 16) == hash);
}

TEST_CASE("Every field of both files and of both packets is in docs/region.md as it is") {
  CheckDocumented(kRegionFields);
  CheckDocumented(kLimitsFields);
  CheckDocumented(kAgentFields);
  const std::string page = Documentation();
  CHECK(page.find("`" + Hex(kRegionHash) + "`") != std::string::npos);
  CHECK(page.find("`" + Hex(kLimitsHash) + "`") != std::string::npos);
}

TEST_CASE("Nothing that different processes write shares a cache line") {
  CHECK(offsetof(RegionLayout, owners) % kLine == 0);
  CHECK(offsetof(RegionLayout, devices) % kLine == 0);
  CHECK(offsetof(RegionLayout, buckets) % kLine == 0);
  CHECK(offsetof(RegionLayout, slots) % kLine == 0);
  CHECK(offsetof(Slot, lanes) % kLine == 0);
  CHECK(alignof(DeviceUsage) == kLine);
  CHECK(alignof(TokenBucket) == kLine);
  CHECK(alignof(Lane) == kLine);
  CHECK(alignof(AgentLine) == kLine);
}

}  // namespace partage::shm
