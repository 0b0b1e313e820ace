// SPDX-License-Identifier: Apache-2.0
// Death at every instruction: a process is single-stepped through an operation, and whenever it has changed the region, what it would leave
// behind if it were killed there is repaired on a copy.
#include <sys/ptrace.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "shm/ledger.h"
#include "shm/region.h"
#include "test/shm/child.h"
#include "test/support/temp_folder.h"

namespace partage::shm {
namespace {

constexpr unsigned kMine = 0;            // slot of the process that is stepped
constexpr unsigned kOther = 1;           // of one that lives on
constexpr std::uint64_t kOthers = 1000;  // bytes of device 0 it holds
constexpr std::uint64_t kLimit = 10'000;

using Copy = std::unique_ptr<RegionLayout>;

Copy CopyOf(const RegionLayout& region) {
  Copy copy = std::make_unique<RegionLayout>();
  std::memcpy(static_cast<void*>(copy.get()), static_cast<const void*>(&region), sizeof region);
  return copy;
}

/// Changes whenever one of the words does that the operations under test write.
std::uint64_t Fingerprint(const RegionLayout& region) {
  std::uint64_t hash = 0;
  const auto add = [&hash](const Word& word) { hash = (hash ^ word.load(std::memory_order_relaxed)) * 0x9E37'79B9'7F4A'7C15; };
  const Slot& slot = region.slots[kMine];
  for (const Word* word : {&region.devices[0].used, &region.devices[0].last, &region.owners[kMine], &slot.image, &slot.proc, &slot.settler})
    add(*word);
  for (const Lane& lane : slot.lanes) {
    for (const Word* word : {&lane.busy, &lane.applied, &lane.intent, &lane.intent_where, &lane.intent_count}) add(*word);
    for (const Word& count : lane.counts[0]) add(count);
  }
  return hash;
}

/// Runs `work` in a child, one instruction at a time. After each that changed the region, and before the first, `seen` is called; when it
/// says false the child is killed. Returns the number of instructions.
long StepThrough(const RegionLayout& region, const std::function<void()>& work, const std::function<bool()>& seen) {
  Child child([&] {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    work();
    return 0;
  });
  int status = 0;
  ::waitpid(child.pid(), &status, 0);
  long instructions = 0;
  std::uint64_t before = 0;
  while (WIFSTOPPED(status)) {
    const bool changed = Fingerprint(region) != before;
    if (changed && !seen()) return instructions;
    if (changed) before = Fingerprint(region);  // which `seen` may have changed too
    ::ptrace(PTRACE_SINGLESTEP, child.pid(), nullptr, nullptr);
    ::waitpid(child.pid(), &status, 0);
    ++instructions;
  }
  REQUIRE(WIFEXITED(status));
  return instructions;
}

/// A region in memory with a process that holds 300 bytes in several lanes and is about to do more, and another one.
struct Scene {
  Shared<RegionLayout> region;
  Scene() {
    for (unsigned i = 0; i < 3; ++i) Take(*region, kMine, 0, MemoryClass::kLinear, 100, kLimit);
    region->slots[kMine].lanes[0].counts[0][3].store(50);  // what a thread of lane 0 took and one of lane 3 gave back
    region->slots[kMine].lanes[3].counts[0][3].store(-50ull);
    Take(*region, kOther, 0, MemoryClass::kVmm, kOthers, kLimit);
  }
};

/// Dies in the state given; the others' books must be exact, whether they go on before the settlement or after it.
void CheckDeathIn(const RegionLayout& state) {
  const Copy at_once = CopyOf(state);
  Settle(*at_once, kMine);
  REQUIRE(at_once->devices[0].used.load() == kOthers);
  REQUIRE(Held(at_once->slots[kMine], 0) == 0);
  REQUIRE(IsPlausible(*at_once));

  const Copy later = CopyOf(state);
  REQUIRE(Take(*later, kOther, 0, MemoryClass::kVmm, 10, kLimit));  // overwrites the stamp
  Settle(*later, kMine);
  REQUIRE(later->devices[0].used.load() == kOthers + 10);
  Settle(*later, kMine);
  REQUIRE(later->devices[0].used.load() == kOthers + 10);
  REQUIRE(Take(*later, kMine, 0, MemoryClass::kLinear, 5, kLimit));  // the slot's next owner
  REQUIRE(Held(later->slots[kMine], 0) == 5);
}

/// Every state that an operation passes through. Each has been checked.
std::vector<Copy> StatesOf(const std::function<void(RegionLayout&)>& operation) {
  const Scene scene;
  std::vector<Copy> states;
  const long instructions = StepThrough(
      *scene.region, [&] { operation(*scene.region); },
      [&] {
        states.push_back(CopyOf(*scene.region));
        CheckDeathIn(*scene.region);
        return true;
      });
  CAPTURE(instructions);
  CHECK(states.size() >= 5);
  return states;
}

/// A sweeper settles the state and is killed in every state of its own; the next sweeper must find the books exact.
void CheckDeathOfTheSweeperIn(const RegionLayout& state) {
  const Shared<RegionLayout> region;
  std::memcpy(static_cast<void*>(&*region), static_cast<const void*>(&state), sizeof state);
  StepThrough(
      *region, [&] { Settle(*region, kMine); }, [&] { return CheckDeathIn(*region), true; });
  REQUIRE(region->devices[0].used.load() == kOthers);
}

}  // namespace

TEST_CASE("Killed at any instruction of a reservation, a process leaves books that are settled exactly") {
  StatesOf([](RegionLayout& region) { Take(region, kMine, 0, MemoryClass::kLinear, 77, kLimit); });
}

TEST_CASE("Killed at any instruction of a refund, a process leaves books that are settled exactly") {
  StatesOf([](RegionLayout& region) { Give(region, kMine, 0, MemoryClass::kLinear, 130); });
}

TEST_CASE("Killed at any instruction of a refused reservation, a process leaves books that are settled exactly") {
  StatesOf([](RegionLayout& region) { Take(region, kMine, 0, MemoryClass::kLinear, kLimit, kLimit); });
}

TEST_CASE("Killed at any instruction of several operations in a row, a process leaves books that are settled exactly") {
  StatesOf([](RegionLayout& region) {
    for (int i = 0; i < 3; ++i) {
      Take(region, kMine, 0, MemoryClass::kPool, 11, kLimit);
      Give(region, kMine, 0, MemoryClass::kPool, 5);
    }
  });
}

TEST_CASE("Killed at any instruction of a settlement, a sweeper leaves books that are settled exactly") {
  StatesOf([](RegionLayout& region) { Settle(region, kMine); });
}

TEST_CASE("A sweeper killed at any instruction of settling a process killed at any instruction is made good by the next one") {
  const std::vector<Copy> states = StatesOf([](RegionLayout& region) { Take(region, kMine, 0, MemoryClass::kLinear, 77, kLimit); });
  for (const Copy& state : states) CheckDeathOfTheSweeperIn(*state);
}

TEST_CASE("An operation stopped at any instruction while others go on, and resumed, is done exactly once") {
  const Scene scene;
  std::uint64_t others = kOthers;
  StepThrough(
      *scene.region, [&] { Take(*scene.region, kMine, 0, MemoryClass::kLinear, 77, kLimit); },
      [&] {
        others += 3;
        return Take(*scene.region, kOther, 0, MemoryClass::kVmm, 3, kLimit);
      });
  CHECK(scene.region->devices[0].used.load() == 377 + others);
  CHECK(Held(scene.region->slots[kMine], 0) == 377);
  CHECK(Held(scene.region->slots[kOther], 0) == others);
}

TEST_CASE("Really killed at each step of claim, reserve, refund and release, a process is swept within a second and its slot is free") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/usage";
  Region region;
  REQUIRE(region.OpenOrCreate(path.c_str()) == Fault::kNone);
  const auto life = [&] {
    Region mine = region;
    if (mine.Claim() != Fault::kNone) ::_exit(1);
    mine.Reserve(0, MemoryClass::kLinear, 100, kLimit);
    mine.Refund(0, MemoryClass::kLinear, 40);
    mine.Release();
  };
  int steps = 0;
  bool finished = false;
  for (int last = 1; !finished; ++last) {
    int seen = 0;
    finished = true;
    StepThrough(region.layout(), life, [&] {
      finished = ++seen < last;
      return finished;
    });
    REQUIRE(WaitFor([&] { return region.Sweep(), region.Used(0) == 0 && region.layout().owners[kMine].load() == 0; }, 1));
    REQUIRE(Held(region.layout().slots[kMine], 0) == 0);
    REQUIRE(region.Claim() == Fault::kNone);
    REQUIRE(region.slot() == kMine);
    region.Release();
    steps = last;
  }
  CHECK(steps > 20);
}

}  // namespace partage::shm
