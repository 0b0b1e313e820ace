// SPDX-License-Identifier: Apache-2.0
#include "intercept/loader/address_map.h"

#include <catch2/catch.hpp>

#include <random>
#include <unordered_map>

namespace partage::intercept::loader {

TEST_CASE("An address map answers like a reference, keeps the first of two and refuses what would fill it") {
  static AddressMap<1024> map;
  std::unordered_map<const void*, void*> reference;
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    auto* const real = reinterpret_cast<const void*>(0x7f0000000000 + random() % 700 * 16);
    auto* const hook = reinterpret_cast<void*>(random() | 1);
    const bool known = reference.count(real) != 0;
    const bool room = reference.size() < 512;
    CHECK(map.Put(real, hook) == room);
    if (!known && room) reference[real] = hook;
  }
  CHECK(reference.size() == 512);
  for (unsigned i = 0; i < 700; ++i) {
    auto* const real = reinterpret_cast<const void*>(0x7f0000000000 + i * 16);
    const auto found = reference.find(real);
    CHECK(map.Find(real) == (found != reference.end() ? found->second : nullptr));
  }
}

}  // namespace partage::intercept::loader
