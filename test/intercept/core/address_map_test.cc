// SPDX-License-Identifier: Apache-2.0
#include "intercept/loader/address_map.h"

#include <catch2/catch.hpp>

#include <random>
#include <unordered_map>

namespace partage::intercept::loader {
namespace {

const void* At(std::uintptr_t address) { return reinterpret_cast<const void*>(address); }

}  // namespace

TEST_CASE("An address map answers like a reference, keeps the first of two and refuses what would fill it") {
  static AddressMap<1024> map;
  std::unordered_map<const void*, unsigned> reference;
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    const void* const real = At(0x7f0000000000 + random() % 700 * 16);
    const auto row = static_cast<unsigned>(random() % 0xFFFF);
    const bool known = reference.count(real) != 0;
    const bool room = reference.size() < 512;
    CHECK(map.Put(real, row) == room);
    if (!known && room) reference[real] = row;
  }
  CHECK(reference.size() == 512);
  for (unsigned i = 0; i < 700; ++i) {
    const void* const real = At(0x7f0000000000 + i * 16);
    const auto found = reference.find(real);
    CHECK(map.Find(real) == (found != reference.end() ? static_cast<int>(found->second) : -1));
  }
}

TEST_CASE("An address map keeps the highest row and the highest address there are, and refuses what it could not tell from others") {
  static AddressMap<16> map;
  CHECK(map.Put(At(0xFFFF'FFFF'FFF0), 0xFFFE));
  CHECK(map.Put(At(16), 0));
  CHECK_FALSE(map.Put(At(32), 0xFFFF));
  CHECK_FALSE(map.Put(At(0x1'0000'0000'0010), 1));
  CHECK(map.Find(At(0xFFFF'FFFF'FFF0)) == 0xFFFE);
  CHECK(map.Find(At(16)) == 0);
  CHECK(map.Find(At(32)) == -1);
  CHECK(map.Find(At(0x1'0000'0000'0010)) == -1);
}

}  // namespace partage::intercept::loader
