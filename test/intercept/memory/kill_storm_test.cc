// SPDX-License-Identifier: Apache-2.0
// 64 processes with threads that take and free memory in every way, through the hooks, while they are killed at work and replaced.
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "shm/region.h"
#include "test/intercept/memory/blocks.h"
#include "test/intercept/memory/tenants.h"
#include "test/shm/child.h"

namespace partage::intercept {
namespace {

using shm::WaitFor;

constexpr unsigned kProcesses = 64;
constexpr unsigned kThreads = 3;
constexpr unsigned kGroups = 16;
constexpr unsigned kAtWork = 30;              // calls without a rest
constexpr std::uint64_t kLimit = 192 * kMiB;  // less than they would like to have
constexpr std::uint64_t kMost = kMiB;         // in one piece, but for pools

enum class Phase { kWork, kStand, kEnd };

struct Board {
  std::atomic<Phase> phase = Phase::kWork;
  std::atomic<unsigned> hot_group = 0;  ///< works without a rest, so that who is killed is at work
  struct alignas(128) Row {
    std::atomic<unsigned> standing = 0;
    std::atomic<std::uint64_t> calls = 0, refusals = 0, surprises = 0;
  };
  std::array<Row, kProcesses> rows;
  /// A process that only asks.
  struct {
    std::atomic<std::uint64_t> answers = 0, by_cuda = 0, by_nvml = 0, truly = 0, most = 0;
    std::atomic<bool> failed = false;
  } asker;
};

/// One thread of one process.
class Worker {
 public:
  Worker(Board& board, unsigned row, unsigned seed) : board_(board), row_(board.rows[row]), group_(row % kGroups), random_(seed) {}

  void Run() {
    for (Phase phase = board_.phase; phase != Phase::kEnd; phase = board_.phase) {
      if (phase == Phase::kStand) {
        StandStill();
        continue;
      }
      if (board_.hot_group != group_) usleep(8'000 + random_() % 16'000);
      Step();
      row_.calls.fetch_add(1, std::memory_order_relaxed);
    }
    while (!blocks_.empty()) FreeOne();
    Note(cuCtxSynchronize());
  }

 private:
  /// Pools give back what is free in them when somebody waits for the device: the last of the process's threads to stand has waited after all others.
  void StandStill() {
    Note(cuCtxSynchronize());
    row_.standing += 1;
    while (board_.phase == Phase::kStand) usleep(3'000);
    row_.standing -= 1;
  }
  bool Note(CUresult result) {
    if (result == CUDA_ERROR_OUT_OF_MEMORY) row_.refusals.fetch_add(1, std::memory_order_relaxed);
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_OUT_OF_MEMORY) row_.surprises += 1;
    return result == CUDA_SUCCESS;
  }
  void Step() {
    const unsigned what = random_() % 16;
    if (what == 0) {
      Note(cuCtxSynchronize());
    } else if (what == 1) {
      if (UsedByCuda() > kLimit) row_.surprises += 1;
    } else if (what < 9) {
      TakeOne(static_cast<Way>(random_() % 6));
    } else {
      FreeOne();
    }
  }
  void TakeOne(Way way) {
    const std::uint64_t bytes = way == Way::kPooled ? 2 * kMiB : PieceOf(way, 64 * 1024 + random_() % kMost);
    Block block;
    if (Note(Take(way, bytes, &block))) return blocks_.push_back(block);
    FreeOne();
    FreeOne();
  }
  void FreeOne() {
    if (blocks_.empty()) return;
    std::swap(blocks_[random_() % blocks_.size()], blocks_.back());
    if (Free(blocks_.back()) != CUDA_SUCCESS) row_.surprises += 1;
    blocks_.pop_back();
  }

  Board& board_;
  Board::Row& row_;
  unsigned group_;
  std::mt19937 random_;
  std::vector<Block> blocks_;
};

int Work(Board& board, unsigned row, unsigned seed) {
  CUcontext context = Start();
  std::vector<std::thread> threads;
  std::atomic<bool> fine = true;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      if (cuCtxSetCurrent(context) != CUDA_SUCCESS) fine = false;
      Worker(board, row, seed * kThreads + i).Run();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return fine && board.rows[row].surprises == 0 ? 0 : 1;
}

/// Asks what is used, of CUDA, NVML and the driver itself, and does nothing else.
int Ask(Board& board) {
  Start();
  auto& told = board.asker;
  while (board.phase != Phase::kEnd) {
    const std::uint64_t by_cuda = UsedByCuda(), by_nvml = UsedByNvml(), truly = TrulyUsed();
    if (by_cuda > kLimit || by_nvml > kLimit || truly > (std::uint64_t{1} << 40)) told.failed = true;
    told.by_cuda = by_cuda;
    told.by_nvml = by_nvml;
    told.truly = truly;
    if (truly > told.most) told.most = truly;
    told.answers += 1;
    usleep(10'000);
  }
  return told.failed ? 1 : 0;
}

class Storm {
 public:
  Storm() : tenants_(kLimit, "device memory=16G; " + kExact), asker_([this] { return Ask(*board_); }) {
    REQUIRE(WaitFor([this] { return board_->asker.answers > 0; }, 30));
    REQUIRE(usage_.OpenReadOnly(std::getenv("PARTAGE_USAGE")) == shm::Fault::kNone);
    for (unsigned row = 0; row < kProcesses; ++row) Begin(row);
  }

  /// Kills one in the midst of what it does, if it comes to do something within a while, and starts another in its place.
  void KillOneAtWork() {
    board_->hot_group = random_() % kGroups;
    const unsigned row = random_() % (kProcesses / kGroups) * kGroups + board_->hot_group;
    const std::uint64_t before = board_->rows[row].calls;
    for (int i = 0; i < 100 && board_->rows[row].calls < before + kAtWork; ++i) usleep(300);
    if (board_->rows[row].calls >= before + kAtWork) ++killed_at_work_;
    workers_[row].Kill();
    Begin(row);
    CHECK(usage_.Used(0) <= kLimit);
  }

  /// Kills every other process at work; the rest stands still. Then one who only asks must come to know, of CUDA and of NVML, what the driver gave out.
  void CheckTruthAfterKills() {
    for (unsigned row = 0; row < kProcesses; row += 2) workers_[row].Kill();
    board_->phase = Phase::kStand;
    REQUIRE(WaitFor([this] { return SurvivorsStand(); }, 60));
    const std::uint64_t asked = board_->asker.answers + 1;  // the answer under way may be older
    const bool true_in_time = WaitFor([&] { return board_->asker.answers > asked && AskerAgrees(); }, 1);
    INFO("CUDA says " << board_->asker.by_cuda << ", NVML " << board_->asker.by_nvml << ", the driver gave " << board_->asker.truly);
    CHECK(true_in_time);
    CHECK(usage_.Used(0) == board_->asker.truly);
    CHECK(board_->asker.truly > 0);
    board_->phase = Phase::kWork;
    for (unsigned row = 0; row < kProcesses; row += 2) Begin(row);
  }

  /// All that live free what they have and end.
  void CheckEnd() {
    board_->phase = Phase::kEnd;
    for (shm::Child& worker : workers_) CHECK(worker.Wait() == 0);
    CHECK(asker_.Wait() == 0);
    CHECK(board_->asker.most <= kLimit);
    CHECK(tenants_.IsFree(kLimit));
    CHECK(tenants_.Used() == 0);
  }

  std::uint64_t Sum(std::atomic<std::uint64_t> Board::Row::*figure) const {
    std::uint64_t sum = 0;
    for (const Board::Row& row : board_->rows) sum += row.*figure;
    return sum;
  }
  unsigned killed_at_work() const { return killed_at_work_; }

 private:
  void Begin(unsigned row) {
    board_->rows[row].standing = 0;
    shm::Child child([this, row, seed = ++seed_] { return Work(*board_, row, seed); });
    if (row < workers_.size()) {
      workers_[row] = std::move(child);
    } else {
      workers_.push_back(std::move(child));
    }
  }
  bool SurvivorsStand() const {
    for (unsigned row = 1; row < kProcesses; row += 2) {
      if (board_->rows[row].standing != kThreads) return false;
    }
    return true;
  }
  bool AskerAgrees() const {
    const auto& told = board_->asker;
    return told.by_cuda == told.truly && told.by_nvml == told.truly;
  }

  const Tenants tenants_;
  shm::Shared<Board> board_;
  shm::Region usage_;
  std::mt19937 random_{7};
  unsigned seed_ = 0, killed_at_work_ = 0;
  shm::Child asker_;
  std::vector<shm::Child> workers_;
};

TEST_CASE(
    "Processes killed at work in a storm of all kinds of memory never exceed the limit, and whoever asks knows what is left within a "
    "second") {
  Storm storm;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 60; ++i) storm.KillOneAtWork();
    storm.CheckTruthAfterKills();
  }
  CHECK(storm.killed_at_work() >= 80);
  CHECK(storm.Sum(&Board::Row::calls) > 10'000);
  CHECK(storm.Sum(&Board::Row::refusals) > 100);
  CHECK(storm.Sum(&Board::Row::surprises) == 0);
  storm.CheckEnd();
}

}  // namespace
}  // namespace partage::intercept
