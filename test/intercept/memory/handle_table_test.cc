// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/handle_table.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace partage::intercept::memory {
namespace {

constexpr std::uint64_t kPage = 2U << 20;

/// A table and what came due from it.
struct Fixture {
  std::unique_ptr<HandleTable> table = std::make_unique<HandleTable>();
  std::uint64_t due = 0;
  ~Fixture() { table->ResetInChild(); }

  void Release(std::uint64_t handle) { due += table->EndRelease(table->BeginRelease(handle), true).bytes; }
  void Map(std::uint64_t handle, std::uint64_t address, std::uint64_t bytes) {
    due += table->EndMap(table->BeginMap(handle), address, bytes, true).bytes;
  }
  void Unmap(std::uint64_t address, std::uint64_t bytes) {
    table->Unmapped(address, bytes, [&](const Due& part) { due += part.bytes; });
  }
};

TEST_CASE("Memory that was never mapped is due at its release") {
  Fixture f;
  REQUIRE(f.table->Created(1, 4, kPage));
  const Due due = f.table->EndRelease(f.table->BeginRelease(1), true);
  CHECK(due.bytes == kPage);
  CHECK(due.device == 4);
  CHECK(f.table->size() == 0);
}

TEST_CASE("Released but mapped memory stays charged until it is unmapped") {
  Fixture f;
  REQUIRE(f.table->Created(1, 0, kPage));
  f.Map(1, 0x10000000, kPage);
  f.Release(1);
  CHECK(f.due == 0);
  f.Unmap(0x10000000, kPage);
  CHECK(f.due == kPage);
}

TEST_CASE("Unmapped but unreleased memory stays charged until it is released") {
  Fixture f;
  REQUIRE(f.table->Created(1, 0, kPage));
  f.Map(1, 0x10000000, kPage);
  f.Unmap(0x10000000, kPage);
  CHECK(f.due == 0);
  f.Release(1);
  CHECK(f.due == kPage);
}

TEST_CASE("One unmap of a range ends every mapping in it, known or not") {
  Fixture f;
  REQUIRE(f.table->Created(1, 0, kPage));
  REQUIRE(f.table->Created(2, 0, 2 * kPage));
  f.Map(1, 0x10000000, kPage);
  f.Map(99, 0x10000000 + kPage, kPage);         // host memory: not known
  f.Map(2, 0x10000000 + 3 * kPage, 2 * kPage);  // and a gap before this one
  f.Release(1);
  f.Release(2);
  f.Unmap(0x10000000, 5 * kPage);
  CHECK(f.due == 3 * kPage);
}

TEST_CASE("A mapping the driver refused is no reference") {
  Fixture f;
  REQUIRE(f.table->Created(1, 0, kPage));
  CHECK(f.table->EndMap(f.table->BeginMap(1), 0x10000000, kPage, false).bytes == 0);
  f.Release(1);
  CHECK(f.due == kPage);
}

TEST_CASE("A release the driver refused leaves the handle known") {
  Fixture f;
  REQUIRE(f.table->Created(1, 0, kPage));
  CHECK(f.table->EndRelease(f.table->BeginRelease(1), false).bytes == 0);
  f.Release(1);
  CHECK(f.due == kPage);
}

TEST_CASE("Retained handles are references, whatever value the driver gives") {
  Fixture f;
  REQUIRE(f.table->Created(1, 0, kPage));
  f.Map(1, 0x10000000, kPage);
  f.table->Retained(1, 0x10000000);
  f.Release(1);
  f.Release(1);
  f.table->Retained(77, 0x10000000 + kPage - 1);  // inside the mapping
  f.Unmap(0x10000000, kPage);
  CHECK(f.due == 0);
  f.Release(77);
  CHECK(f.due == kPage);
}

TEST_CASE("A handle value reused while its old memory is mapped is the new memory") {
  Fixture f;
  REQUIRE(f.table->Created(1, 0, kPage));
  f.Map(1, 0x10000000, kPage);
  f.Release(1);
  REQUIRE(f.table->Created(1, 0, 4 * kPage));
  f.Release(1);
  CHECK(f.due == 4 * kPage);
  f.Unmap(0x10000000, kPage);
  CHECK(f.due == 5 * kPage);
}

TEST_CASE("An import of our own memory is a reference, one of a stranger's is nothing") {
  Fixture f;
  REQUIRE(f.table->Created(1, 0, kPage));
  f.table->Imported(1);
  f.table->Imported(55);
  f.Release(55);
  f.Release(1);
  CHECK(f.due == 0);
  f.Release(1);
  CHECK(f.due == kPage);
}

TEST_CASE("A handle nobody knows is released and mapped without a charge") {
  Fixture f;
  f.Release(9);
  f.Map(9, 0x10000000, kPage);
  f.Unmap(0x10000000, kPage);
  CHECK(f.due == 0);
  CHECK(f.table->size() == 0);
}

/// Physical memory as a driver keeps it: gone when neither handles nor mappings are left. Handle values are reused at once.
class Model {
 public:
  std::uint64_t Create(std::uint64_t bytes) {
    memory_[++last_] = {bytes, 1, 0};
    physical_ += bytes;
    std::uint64_t handle = 1;
    while (handles_.contains(handle)) ++handle;
    handles_[handle] = last_;
    return handle;
  }
  void Release(std::uint64_t handle) {
    const auto id = handles_.at(handle);
    if (--memory_[id].handles == 0) handles_.erase(handle);
    Collect(id);
  }
  void Map(std::uint64_t handle, std::uint64_t address) {
    maps_[address] = handles_.at(handle);
    ++memory_[handles_.at(handle)].maps;
  }
  void Unmap(std::uint64_t address) {
    const auto id = maps_.at(address);
    maps_.erase(address);
    --memory_[id].maps;
    Collect(id);
  }
  std::uint64_t Retain(std::uint64_t address) {
    const auto id = maps_.at(address);
    ++memory_[id].handles;
    for (const auto& [handle, of] : handles_) {
      if (of == id) return handle;
    }
    std::uint64_t handle = 1;
    while (handles_.contains(handle)) ++handle;
    handles_[handle] = id;
    return handle;
  }
  std::uint64_t physical() const { return physical_; }
  const std::map<std::uint64_t, std::uint64_t>& handles() const { return handles_; }
  const std::map<std::uint64_t, std::uint64_t>& maps() const { return maps_; }
  std::uint64_t BytesOf(std::uint64_t handle) const { return memory_.at(handles_.at(handle)).bytes; }
  std::uint64_t BytesAt(std::uint64_t address) const { return memory_.at(maps_.at(address)).bytes; }

 private:
  struct Memory {
    std::uint64_t bytes;
    unsigned handles, maps;
  };
  void Collect(std::uint64_t id) {
    if (memory_[id].handles > 0 || memory_[id].maps > 0) return;
    physical_ -= memory_[id].bytes;
    memory_.erase(id);
  }
  std::uint64_t last_ = 0, physical_ = 0;
  std::map<std::uint64_t, Memory> memory_;
  std::map<std::uint64_t, std::uint64_t> handles_, maps_;
};

template <class M>
auto KeyOf(const M& map, std::uint64_t n) {
  auto it = map.begin();
  std::advance(it, static_cast<long>(n % map.size()));
  return it->first;
}

TEST_CASE("After every random step the charge equals the physical memory of a driver's model") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937_64 random(seed);
    Model model;
    Fixture f;
    std::uint64_t charged = 0;
    for (std::uint64_t step = 1; step < 800; ++step) {
      switch (random() % 5) {
        case 0: {
          const std::uint64_t bytes = (random() % 4 + 1) * kPage;
          charged += bytes;
          REQUIRE(f.table->Created(model.Create(bytes), 0, bytes));
          break;
        }
        case 1:
          if (model.handles().empty()) break;
          if (const auto handle = KeyOf(model.handles(), random()); true) {
            f.Release(handle);
            model.Release(handle);
          }
          break;
        case 2:
          if (model.handles().empty()) break;
          if (const auto handle = KeyOf(model.handles(), random()); true) {
            const std::uint64_t address = step * 16 * kPage;
            f.Map(handle, address, model.BytesOf(handle));
            model.Map(handle, address);
          }
          break;
        case 3:
          if (model.maps().empty()) break;
          if (const auto address = KeyOf(model.maps(), random()); true) {
            f.Unmap(address, model.BytesAt(address));
            model.Unmap(address);
          }
          break;
        default:
          if (model.maps().empty()) break;
          if (const auto address = KeyOf(model.maps(), random()); true)
            f.table->Retained(model.Retain(address), address + random() % kPage);
      }
      REQUIRE(charged - f.due == model.physical());
    }
  }
}

TEST_CASE("Threads with memory of their own leave nothing charged when all is gone") {
  Fixture f;
  std::mutex driver;
  Model model;
  std::atomic<std::uint64_t> charged{0}, due{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t step = 0; step < 1500; ++step) {
        const std::uint64_t address = (std::uint64_t{t + 1} << 44) + step * kPage;
        const std::uint64_t handle = [&] {
          const std::lock_guard lock(driver);
          return model.Create(kPage);
        }();
        charged += kPage;
        if (!f.table->Created(handle, 0, kPage)) std::abort();
        due += f.table->EndMap(f.table->BeginMap(handle), address, kPage, true).bytes;
        const auto release = f.table->BeginRelease(handle);
        {
          const std::lock_guard lock(driver);
          model.Release(handle);
        }  // from here on another thread may get the handle value
        due += f.table->EndRelease(release, true).bytes;
        f.table->Unmapped(address, kPage, [&](const Due& part) { due += part.bytes; });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(charged == due);
  CHECK(f.table->size() == 0);
}

}  // namespace
}  // namespace partage::intercept::memory
