// SPDX-License-Identifier: Apache-2.0
// 64 processes with threads reserve and refund at random while they are killed, stopped and started.
#include <array>
#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "shm/region.h"
#include "test/shm/child.h"
#include "test/support/temp_folder.h"

namespace partage::shm {
namespace {

constexpr unsigned kProcesses = 64;
constexpr unsigned kThreads = 2;
constexpr unsigned kGroups = 32;
constexpr unsigned kDevices = 2;
constexpr unsigned kAtWork = 100;         // operations without a rest, of which those who rest make one or two in the same time
constexpr std::uint64_t kLimit = 40'000;  // about four fifths of what they would like to have

/// What the test tells its processes, and what they say of themselves.
struct Board {
  std::atomic<unsigned> pause = 0;      ///< number of the pause; odd: stand still
  std::atomic<unsigned> hot_group = 0;  ///< the processes that work without a rest, so that they are killed at work
  std::atomic<std::uint64_t> over = 0;
  struct alignas(128) Row {
    std::atomic<unsigned> standing = 0;  ///< threads that stand still
    std::atomic<std::uint64_t> operations = 0;
    std::array<std::array<std::atomic<std::uint64_t>, kMemoryClasses>, kDevices> held{};
  };
  std::array<Row, kProcesses> rows;
};

struct Piece {
  unsigned device;
  MemoryClass memory_class;
  std::uint64_t bytes;
};

/// One thread of one process.
class Worker {
 public:
  Worker(Region& region, Board& board, unsigned row, unsigned seed)
      : region_(region), board_(board), row_(board.rows[row]), group_(row % kGroups), random_(seed) {}

  void Run() {
    for (;;) {
      if (board_.pause % 2 == 1) StandStill();
      if (board_.hot_group != group_) ::usleep(10'000 + random_() % 20'000);
      if (pieces_.empty() || random_() % 2 == 0) {
        Reserve();
      } else {
        Refund();
      }
      row_.operations.fetch_add(1, std::memory_order_relaxed);
      for (unsigned device = 0; device < kDevices; ++device) {
        if (region_.Used(device) > kLimit) board_.over += 1;
      }
    }
  }

 private:
  void StandStill() {
    row_.standing += 1;
    while (board_.pause % 2 == 1) ::usleep(200);
    row_.standing -= 1;
  }
  void Reserve() {
    const Piece piece = {static_cast<unsigned>(random_() % kDevices), static_cast<MemoryClass>(random_() % kMemoryClasses),
                         1 + random_() % 200};
    if (!region_.Reserve(piece.device, piece.memory_class, piece.bytes, kLimit)) return Refund();
    Held(piece) += piece.bytes;
    pieces_.push_back(piece);
  }
  void Refund() {
    if (pieces_.empty()) return;
    std::swap(pieces_[random_() % pieces_.size()], pieces_.back());
    const Piece piece = pieces_.back();
    pieces_.pop_back();
    Held(piece) -= piece.bytes;
    region_.Refund(piece.device, piece.memory_class, piece.bytes);
  }
  std::atomic<std::uint64_t>& Held(const Piece& piece) { return row_.held[piece.device][static_cast<unsigned>(piece.memory_class)]; }

  Region& region_;
  Board& board_;
  Board::Row& row_;
  unsigned group_;
  std::mt19937 random_;
  std::vector<Piece> pieces_;
};

int Live(const std::string& path, Board& board, unsigned row, unsigned seed) {
  Region region;
  if (region.Open(path.c_str()) != Fault::kNone || region.Claim() != Fault::kNone) return 1;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back([&, i] { Worker(region, board, row, seed * kThreads + i).Run(); });
  for (std::thread& thread : threads) thread.join();
  return 0;
}

class Storm {
 public:
  Storm() {
    REQUIRE(region_.OpenOrCreate(path_.c_str()) == Fault::kNone);
    for (unsigned row = 0; row < kProcesses; ++row) Start(row);
  }

  /// Kills a process and starts another in its place.
  void KillOne() { Kill(random_() % kProcesses); }
  /// Kills one in the midst of what it does, if it comes to do something within a while: it may be stopped.
  void KillOneAtWork() {
    board_->hot_group = random_() % kGroups;
    const unsigned row = random_() % (kProcesses / kGroups) * kGroups + board_->hot_group;
    const std::uint64_t before = board_->rows[row].operations;
    for (int i = 0; i < 40 && board_->rows[row].operations < before + kAtWork; ++i) ::usleep(500);
    if (board_->rows[row].operations >= before + kAtWork) ++killed_at_work_;
    Kill(row);
  }
  void StopOne() { children_[random_() % kProcesses].Signal(SIGSTOP); }
  void ContinueAll() {
    for (const Child& child : children_) child.Signal(SIGCONT);
  }
  void KillAll() { children_.clear(); }

  /// Kills a few more, lets all others come to rest, and compares the books with what the processes say they hold, a second later at most.
  void CheckAtRest() {
    board_->pause += 1;
    for (int i = 0; i < 8; ++i) KillOne();
    ContinueAll();
    REQUIRE(WaitFor([&] { return AllStand(); }, 30));
    CHECK(WaitFor([&] { return region_.Sweep(), IsTrue(); }, 1));
    CheckClasses();
    board_->pause += 1;
  }
  void CheckEmpty() {
    CHECK(WaitFor([&] { return region_.Sweep(), region_.Used(0) + region_.Used(1) == 0; }, 1));
    for (unsigned slot = 0; slot < kMaxProcesses; ++slot) REQUIRE(region_.layout().owners[slot].load() == 0);
  }
  std::uint64_t operations() const {
    std::uint64_t sum = 0;
    for (const Board::Row& row : board_->rows) sum += row.operations;
    return sum;
  }
  std::uint64_t times_over_the_limit() const { return board_->over; }
  unsigned killed_at_work() const { return killed_at_work_; }
  Region& region() { return region_; }

 private:
  void Kill(unsigned row) {
    children_[row].Kill();
    Start(row);
  }
  void Start(unsigned row) {
    Board::Row& mine = board_->rows[row];
    mine.standing = 0;
    for (auto& device : mine.held) {
      for (auto& held : device) held = 0;
    }
    Child child([this, row, seed = ++seed_] { return Live(path_, *board_, row, seed); });
    if (row < children_.size()) {
      children_[row] = std::move(child);
    } else {
      children_.push_back(std::move(child));
    }
  }
  bool AllStand() const {
    for (const Board::Row& row : board_->rows) {
      if (row.standing != kThreads) return false;
    }
    return true;
  }
  std::uint64_t Said(unsigned device, unsigned memory_class) const {
    std::uint64_t sum = 0;
    for (const Board::Row& row : board_->rows) sum += row.held[device][memory_class];
    return sum;
  }
  bool IsTrue() const {
    for (unsigned device = 0; device < kDevices; ++device) {
      std::uint64_t said = 0;
      for (unsigned c = 0; c < kMemoryClasses; ++c) said += Said(device, c);
      if (region_.Used(device) != said) return false;
    }
    return true;
  }
  void CheckClasses() const {
    for (unsigned device = 0; device < kDevices; ++device) {
      for (unsigned c = 0; c < kMemoryClasses; ++c) CHECK(region_.UsedFor(device, static_cast<MemoryClass>(c)) == Said(device, c));
    }
  }

  const test::TempFolder folder_;
  const std::string path_ = folder_.path() + "/usage";
  Region region_;
  Shared<Board> board_;
  std::mt19937 random_{5};
  unsigned seed_ = 0;
  unsigned killed_at_work_ = 0;
  std::vector<Child> children_;
};

}  // namespace

TEST_CASE("In a storm of kills and stops the limit holds to the byte, and whenever all stand still the books are true") {
  Storm storm;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 50; ++i) {
      storm.KillOneAtWork();
      if (i % 10 == 0) storm.StopOne();
      REQUIRE(storm.region().Used(0) <= kLimit);
      REQUIRE(storm.region().Used(1) <= kLimit);
    }
    storm.CheckAtRest();
  }
  CHECK(storm.times_over_the_limit() == 0);
  CHECK(storm.operations() > 20'000);
  CHECK(storm.killed_at_work() >= 125);
  CHECK(storm.region().layout().header.settled.load() >= 250);
  storm.KillAll();
  storm.CheckEmpty();
}

}  // namespace partage::shm
