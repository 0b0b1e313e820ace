// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/context_table.h"

#include <catch2/catch.hpp>
#include <memory>

namespace partage::intercept::memory {
namespace {

TEST_CASE("A context is entered once, with its device") {
  auto table = std::make_unique<ContextTable>();
  const unsigned index = table->Enter(0xC0, 5);
  REQUIRE(index != 0);
  CHECK(table->Enter(0xC0, 5) == index);
  CHECK(table->Find(0xC0) == index);
  CHECK(table->device(index) == 5);
  CHECK(table->Find(0xD0) == 0);
  CHECK(table->Enter(0, 5) == 0);
}

TEST_CASE("A context gives back all it was charged, once") {
  auto table = std::make_unique<ContextTable>();
  const unsigned index = table->Enter(0xC0, 0);
  table->Charge(index, 300);
  table->Charge(index, 44);
  table->Detach(index);
  CHECK(table->Remove(index) == 344);
  CHECK(table->Enter(0xD0, 0) == index);
  CHECK(table->Remove(index) == 0);
}

TEST_CASE("A dying context's handle may be given to a new one before the old is gone") {
  auto table = std::make_unique<ContextTable>();
  const unsigned old = table->Enter(0xC0, 0);
  table->Charge(old, 300);
  table->Detach(old);
  const unsigned young = table->Enter(0xC0, 1);
  CHECK(young != old);
  CHECK(table->Remove(old) == 300);
  CHECK(table->Find(0xC0) == young);
}

TEST_CASE("A context the driver would not destroy is found again with its charge") {
  auto table = std::make_unique<ContextTable>();
  const unsigned index = table->Enter(0xC0, 0);
  table->Charge(index, 300);
  table->Detach(index);
  CHECK(table->Find(0xC0) == 0);
  table->Attach(index, 0xC0);
  CHECK(table->Find(0xC0) == index);
  CHECK(table->Remove(index) == 300);
}

TEST_CASE("What a thread cached about a context is void once one dies") {
  auto table = std::make_unique<ContextTable>();
  const unsigned index = table->Enter(0xC0, 0);
  const auto before = table->generation();
  table->Enter(0xD0, 0);
  CHECK(table->generation() == before);
  table->Detach(index);
  CHECK(table->generation() != before);
}

TEST_CASE("The table holds 255 contexts and says when it is full") {
  auto table = std::make_unique<ContextTable>();
  for (std::uint64_t handle = 1; handle <= 255; ++handle) CHECK(table->Enter(handle, 0) != 0);
  CHECK(table->Enter(256, 0) == 0);
}

}  // namespace
}  // namespace partage::intercept::memory
