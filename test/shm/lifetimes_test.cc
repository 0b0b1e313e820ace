// SPDX-License-Identifier: Apache-2.0
// The ways in which a process can end or change, and what becomes of its memory.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "shm/process.h"
#include "shm/region.h"
#include "test/shm/child.h"
#include "test/support/skip.h"
#include "test/support/temp_folder.h"

namespace partage::shm {
namespace {

struct Stage {
  test::TempFolder folder;
  std::string path = folder.path() + "/usage";
  Region region;
  Shared<std::atomic<int>> phase;

  Stage() {
    REQUIRE(region.OpenOrCreate(path.c_str()) == Fault::kNone);
    REQUIRE(region.Claim() == Fault::kNone);
  }

  /// For a child: takes a slot and 60 bytes of device 0.
  void Hold() const {
    Region mine;
    if (mine.Open(path.c_str()) != Fault::kNone || mine.Claim() != Fault::kNone) ::_exit(90);
    if (!mine.Reserve(0, MemoryClass::kLinear, 60, kNoLimit)) ::_exit(91);
    *phase = 1;
  }
  void AwaitPhase(int wanted) {
    REQUIRE(WaitFor([&] { return *phase == wanted; }));
  }
  /// Zero within a second, by sweeping as a helper thread would.
  bool RepairedWithinASecond() {
    return WaitFor([&] { return region.Sweep(), region.Used(0) == 0; }, 1);
  }
};

int Forever() {
  for (;;) ::pause();
}

}  // namespace

TEST_CASE("What a killed process held is free within a second, also while nobody has reaped it") {
  Stage stage;
  Child child([&] {
    stage.Hold();
    return Forever();
  });
  stage.AwaitPhase(1);
  CHECK(stage.region.Sweep() == 0);
  CHECK(stage.region.Used(0) == 60);
  child.Signal(SIGKILL);
  CHECK(stage.RepairedWithinASecond());
}

TEST_CASE("A reservation that does not fit finds the memory of the dead by itself") {
  Stage stage;
  Child child([&] {
    stage.Hold();
    return Forever();
  });
  stage.AwaitPhase(1);
  CHECK_FALSE(stage.region.Reserve(0, MemoryClass::kLinear, 50, 100));
  child.Kill();
  CHECK(stage.region.Reserve(0, MemoryClass::kLinear, 50, 100));
  CHECK(stage.region.Used(0) == 50);
}

TEST_CASE("A stopped process keeps what it has and holds nobody up") {
  Stage stage;
  Child child([&] {
    stage.Hold();
    return Forever();
  });
  stage.AwaitPhase(1);
  child.Signal(SIGSTOP);
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(stage.region.Reserve(0, MemoryClass::kLinear, 40, 100));
    REQUIRE_FALSE(stage.region.Reserve(0, MemoryClass::kLinear, 1, 100));
    stage.region.Refund(0, MemoryClass::kLinear, 40);
  }
  CHECK(stage.region.Used(0) == 60);
}

TEST_CASE("What a program held before it became another by exec is free, though the process lives on") {
  Stage stage;
  Child child([&] {
    stage.Hold();
    ::execl("/bin/sleep", "sleep", "60", nullptr);
    return 1;
  });
  stage.AwaitPhase(1);
  CHECK(stage.RepairedWithinASecond());
  CHECK(::kill(child.pid(), 0) == 0);
}

TEST_CASE("A slot of a process that had our number before us is ours to settle, even if its program lay where ours does") {
  Stage stage;
  Child dead([&] {
    stage.Hold();
    return 0;
  });
  REQUIRE(dead.Wait() == 0);
  const int fd = ::open(stage.path.c_str(), O_RDWR);
  auto* const file = static_cast<RegionLayout*>(::mmap(nullptr, sizeof(RegionLayout), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  REQUIRE(file != MAP_FAILED);
  const Identity self = OwnIdentity();
  file->slots[1].image = self.image;
  file->slots[1].proc = self.proc;
  file->owners[1] = self.key;  // as another copy of this library in this process would have it
  CHECK(stage.region.Sweep() == 0);
  CHECK(stage.region.Used(0) == 60);
  file->owners[1] = KeyOf(PidOf(self.key), 1);  // the machine had hardly started
  CHECK(stage.region.Sweep() == 1);
  CHECK(stage.region.Used(0) == 0);
  ::munmap(file, sizeof(RegionLayout));
  ::close(fd);
}

TEST_CASE("A child of fork owns nothing of its parent's, and its end takes nothing from it") {
  Stage stage;
  REQUIRE(stage.region.Reserve(0, MemoryClass::kLinear, 30, 100));
  Child idle([] { return 0; });
  CHECK(idle.Wait() == 0);
  Child child([&] {
    stage.region.AfterFork();
    return stage.region.Claim() == Fault::kNone && stage.region.slot() == 1 && stage.region.Reserve(0, MemoryClass::kLinear, 60, 100) ? 0
                                                                                                                                      : 1;
  });
  CHECK(child.Wait() == 0);
  CHECK(stage.region.Used(0) == 90);
  CHECK(stage.region.Sweep() == 1);
  CHECK(stage.region.Used(0) == 30);
}

TEST_CASE("A child of fork that has not claimed yet takes its parent for alive, though its program closed our descriptor") {
  Stage stage;
  REQUIRE(stage.region.Reserve(0, MemoryClass::kLinear, 30, 100));
  Child child([&] {
    stage.region.AfterFork();
    if (!WaitFor([&] { return *stage.phase == 1; })) return 2;
    return stage.region.Sweep() == 0 && stage.region.Used(0) == 30 ? 0 : 1;
  });
  for (int fd = 200; fd < 300; ++fd) ::close(fd);
  *stage.phase = 1;
  CHECK(child.Wait() == 0);
}

TEST_CASE("A process whose first thread has ended is alive while another runs") {
  Stage stage;
  Child child([&] {
    std::thread([&] {
      stage.Hold();
      Forever();
    }).detach();
    ::syscall(SYS_exit, 0);  // of this thread only
    return 1;
  });
  stage.AwaitPhase(1);
  ::usleep(50'000);
  CHECK(stage.region.Sweep() == 0);
  CHECK(stage.region.Used(0) == 60);
  child.Signal(SIGKILL);
  CHECK(stage.RepairedWithinASecond());
}

TEST_CASE("Processes of another PID namespace are told alive from dead, whatever their numbers mean here") {
  Stage stage;
  Shared<std::atomic<int>> inner;
  Child outer([&] {
    if (::unshare(CLONE_NEWPID) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) return 77;
    Child first([&] {  // pid 1 over there
      stage.Hold();
      *inner = ::getpid();
      return Forever();
    });
    return WaitFor([&] { return *stage.phase == 2; }) ? 0 : 1;
  });
  if (!WaitFor([&] { return *stage.phase == 1 && *inner == 1; }, 2)) {
    REQUIRE(outer.Wait() == 77);
    test::Skipped("PID namespaces are not allowed here");
    return;
  }
  CHECK(stage.region.Sweep() == 0);
  CHECK(stage.region.Used(0) == 60);
  *stage.phase = 2;
  CHECK(outer.Wait() == 0);
  CHECK(stage.RepairedWithinASecond());
}

TEST_CASE("Many sweepers at once return a dead process's memory exactly once") {
  Stage stage;
  REQUIRE(stage.region.Reserve(0, MemoryClass::kLinear, 1000, kNoLimit));
  Shared<std::atomic<unsigned>> freed;
  for (int round = 0; round < 20; ++round) {
    *stage.phase = 0;
    Child dead([&] {
      stage.Hold();
      return 0;
    });
    REQUIRE(dead.Wait() == 0);
    std::vector<Child> sweepers;
    for (int i = 0; i < 4; ++i) {
      sweepers.emplace_back([&] {
        Region mine;
        if (mine.Open(stage.path.c_str()) != Fault::kNone) return 1;
        *freed += mine.Sweep();
        return 0;
      });
    }
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&] { *freed += stage.region.Sweep(); });
    for (std::thread& thread : threads) thread.join();
    for (Child& sweeper : sweepers) REQUIRE(sweeper.Wait() == 0);
    REQUIRE(stage.region.Used(0) == 1000);
  }
  CHECK(*freed == 20);
}

TEST_CASE("All slots can be taken, the next process is refused one, and a death makes room") {
  Stage stage;
  std::vector<Child> children;
  Shared<std::atomic<unsigned>> claimed;
  for (unsigned i = 1; i < kMaxProcesses; ++i) {
    children.emplace_back([&] {
      Region mine;
      if (mine.Open(stage.path.c_str()) != Fault::kNone || mine.Claim() != Fault::kNone) return 1;
      *claimed += 1;
      return Forever();
    });
  }
  REQUIRE(WaitFor([&] { return *claimed == kMaxProcesses - 1; }, 60));
  Region late;
  REQUIRE(late.Open(stage.path.c_str()) == Fault::kNone);
  CHECK(late.Claim() == Fault::kFull);
  CHECK_FALSE(late.Reserve(0, MemoryClass::kLinear, 1, kNoLimit));
  children[100].Kill();
  CHECK(late.Claim() == Fault::kNone);
}

}  // namespace partage::shm
