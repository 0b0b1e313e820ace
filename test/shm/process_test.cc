// SPDX-License-Identifier: Apache-2.0
#include "shm/process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <string>

#include "test/shm/child.h"
#include "test/support/skip.h"
#include "test/support/temp_folder.h"

namespace partage::shm {
namespace {

bool Parse(const std::string& text, ProcessState* state) { return ParseStat(text.data(), text.size(), state); }

const char* const kTail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 42 18 987654 20 21";

}  // namespace

TEST_CASE("The state of a process is read whatever its name is") {
  for (const char* name : {"bash", "a b c", "x) Z 1 1 1 (y", "((", "))", "", "Z", "tmux: server"}) {
    INFO(name);
    ProcessState state;
    REQUIRE(Parse("12 (" + std::string(name) + ")" + kTail, &state));
    CHECK(state.state == 'S');
    CHECK(state.threads == 42);
    CHECK(state.start == 987654);
  }
}

TEST_CASE("What is no such line is refused at every length") {
  const std::string line = "12 (bash)" + std::string(kTail);
  const std::size_t start_ends = line.find("987654");
  for (std::size_t length = 0; length < start_ends; ++length) {
    ProcessState state;
    CHECK_FALSE(Parse(line.substr(0, length), &state));
  }
}

TEST_CASE("A process knows itself, and the knowledge does not wear off") {
  const Identity self = OwnIdentity();
  CHECK(PidOf(self.key) == static_cast<std::uint64_t>(getpid()));
  CHECK(self.key != KeyOf(static_cast<std::uint64_t>(getpid()), 0));
  CHECK(self.image != 0);
  CHECK(self.proc != 0);
  CHECK_FALSE(IsGone(self));
}

TEST_CASE("Asked at different times, a process goes by one mark, and another process by another") {
  const Identity self = OwnIdentity();
  Identity later;
  CHECK(WaitFor([&] { return (later = OwnIdentity()).key != self.key; }));
  CHECK(later.mark() == self.mark());
  Shared<std::uint64_t> other;
  Child([&] { return *other = OwnIdentity().mark(), 0; }).Wait();
  CHECK(*other != 0);
  CHECK(*other != self.mark());
}

TEST_CASE("Processes that see one /proc know it, and another one is not taken for it, whatever its device number") {
  const Identity self = OwnIdentity();
  Shared<std::uint64_t> seen[3];
  Child same([&] { return *seen[0] = OwnIdentity().proc, 0; });
  REQUIRE(same.Wait() == 0);
  CHECK(*seen[0] == self.proc);
  const auto mount_and_look = [&](std::uint64_t& id) {
    if (::mount("proc", "/proc", "proc", 0, nullptr) != 0) return false;
    id = OwnIdentity().proc;
    ::usleep(20'000);  // the kernel's times of files go by its tick
    return ::umount2("/proc", MNT_DETACH) == 0;
  };
  Child elsewhere([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
    return mount_and_look(*seen[1]) && mount_and_look(*seen[2]) ? 0 : 77;
  });
  if (elsewhere.Wait() == 77) {
    test::Skipped("mounting is not allowed here");
    return;
  }
  CHECK(*seen[1] != 0);
  CHECK(*seen[1] != self.proc);
  CHECK(*seen[1] != *seen[2]);
}

TEST_CASE("The number of a later process is not taken for the earlier one") {
  char line[1024] = {};
  const int fd = ::open("/proc/self/stat", O_RDONLY);
  ProcessState self;
  REQUIRE(ParseStat(line, static_cast<std::size_t>(::read(fd, line, sizeof line)), &self));
  ::close(fd);
  const auto lived_at = [](std::uint64_t ticks) {
    Identity identity = OwnIdentity();
    identity.key = KeyOf(PidOf(identity.key), ticks);
    return identity;
  };
  CHECK(TicksOf(OwnIdentity().key) >= self.start);
  CHECK_FALSE(IsGone(lived_at(self.start)));
  CHECK_FALSE(IsGone(lived_at(self.start + 1000)));
  CHECK(IsGone(lived_at(self.start - 2)));
  CHECK_FALSE(IsGone(lived_at(0)));  // not known
}

TEST_CASE("A program that another one replaced is gone, though its process lives") {
  Identity before = OwnIdentity();
  before.image += 16;
  CHECK(IsGone(before));
  before.image = 0;
  CHECK_FALSE(IsGone(before));
}

TEST_CASE("A dead process is gone as a zombie already, and after it") {
  Shared<Identity> identity;
  Child child([&] {
    *identity = OwnIdentity();
    return 0;
  });
  CHECK(WaitFor([&] { return identity->key != 0 && IsGone(*identity); }));
  child.Wait();
  CHECK(IsGone(*identity));
}

TEST_CASE("A byte is locked for others, never for its holder, and free when the holder has died") {
  const test::TempFolder folder;
  const int fd = ::open(folder.Write("file", "x").c_str(), O_RDWR);
  CHECK(HasLocks(fd));
  CHECK_FALSE(HasLocks(-1));
  Shared<std::atomic<bool>> locked;
  Child child([&] {
    *locked = LockByte(fd, 7) && !IsByteLocked(fd, 7);
    return ::pause();
  });
  REQUIRE(WaitFor([&] { return locked->load(); }));
  CHECK(IsByteLocked(fd, 7));
  CHECK_FALSE(IsByteLocked(fd, 8));
  CHECK_FALSE(LockByte(fd, 7));
  child.Kill();
  CHECK(LockByte(fd, 7));
  UnlockByte(fd, 7);
  CHECK(Child([&] { return LockByte(fd, 7) ? 0 : 1; }).Wait() == 0);
  ::close(fd);
}

TEST_CASE("Asking leaves errno alone") {
  errno = 77;
  OwnIdentity();
  IsGone({KeyOf(4'000'000, 5), 1, 1});
  CHECK(errno == 77);
}

}  // namespace partage::shm
