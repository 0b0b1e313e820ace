// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/pool_table.h"

#include <catch2/catch.hpp>
#include <memory>
#include <set>
#include <thread>
#include <vector>

namespace partage::intercept::memory {
namespace {

void Charge(Pool& pool, std::uint64_t bytes) {
  const Locked locked(pool.lock);
  pool.account.Hold(bytes);
  pool.account.Settle(bytes, bytes);
}

TEST_CASE("A pool is entered once and found by its handle") {
  auto table = std::make_unique<PoolTable>();
  const unsigned index = table->Open(0xA0, 2);
  REQUIRE(index != 0);
  CHECK(table->Open(0xA0, 2) == index);
  CHECK(table->Find(0xA0) == index);
  CHECK(table->At(index).device == 2);
  CHECK(table->Find(0xB0) == 0);
  CHECK(table->Open(0, 0) == 0);
}

TEST_CASE("A destroyed pool with nothing in use gives its whole charge back at once") {
  auto table = std::make_unique<PoolTable>();
  const unsigned index = table->Open(0xA0, 0);
  Charge(table->At(index), 4096);
  CHECK(table->Close(index) == 4096);
  CHECK(table->Find(0xA0) == 0);
  CHECK(table->Open(0xB0, 0) == index);
}

TEST_CASE("A destroyed pool keeps the charge of blocks in use until they are freed") {
  auto table = std::make_unique<PoolTable>();
  const unsigned index = table->Open(0xA0, 0);
  Charge(table->At(index), 4096);
  table->Used(index, 1000);
  table->Used(index, 24);
  CHECK(table->Close(index) == 4096 - 1024);
  CHECK(table->Open(0xA0, 0) != index);  // the driver may use the handle again
  CHECK(table->Freed(index, 1000) == 1000);
  CHECK(table->Freed(index, 24) == 24);
  CHECK(table->Open(0xC0, 0) == index);
}

TEST_CASE("Freeing into an open pool gives nothing back but makes it stale") {
  auto table = std::make_unique<PoolTable>();
  const unsigned index = table->Open(0xA0, 0);
  Charge(table->At(index), 4096);
  table->Used(index, 1000);
  CHECK_FALSE(table->At(index).stale.load());
  CHECK(table->Freed(index, 1000) == 0);
  CHECK(table->At(index).stale.load());
}

TEST_CASE("The table holds 255 pools and says when it is full") {
  auto table = std::make_unique<PoolTable>();
  std::set<unsigned> indices;
  for (std::uint64_t handle = 1; handle <= 255; ++handle) indices.insert(table->Open(handle, 0));
  CHECK(indices.size() == 255);
  CHECK_FALSE(indices.contains(0));
  CHECK(table->Open(256, 0) == 0);
  table->Close(*indices.begin());
  CHECK(table->Open(256, 0) == *indices.begin());
}

TEST_CASE("Threads that meet a default pool for the first time enter it once") {
  auto table = std::make_unique<PoolTable>();
  std::vector<unsigned> found(4);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < found.size(); ++t) threads.emplace_back([&, t] { found[t] = table->Open(0xA0, 0); });
  for (auto& thread : threads) thread.join();
  for (const unsigned index : found) CHECK(index == found[0]);
  CHECK(table->bound() == 2);
}

}  // namespace
}  // namespace partage::intercept::memory
