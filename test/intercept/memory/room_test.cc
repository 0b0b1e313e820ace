// SPDX-License-Identifier: Apache-2.0
// What fits is granted, whoever else allocates, frees, is refused or dies at the same time.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "test/intercept/memory/blocks.h"
#include "test/intercept/memory/puppet.h"
#include "test/intercept/memory/tenants.h"

namespace partage::intercept {
namespace {

constexpr unsigned kProcesses = 8;
constexpr unsigned kThreads = 4;
constexpr unsigned kExchanges = 4'000;
constexpr unsigned kMostBlocks = 24;
constexpr std::uint64_t kLimit = 64 * kMiB;
constexpr std::uint64_t kPart = kLimit / (kProcesses * kThreads);
constexpr std::uint64_t kLargest = 256 << 10;
const std::string kProfile = "device memory=64M; " + kExact;  // no more than the limit, so that what is let through above it fails, too

/// Fills its part with blocks of all kinds.
bool Fill(std::mt19937& random, std::uint64_t bytes, std::vector<Block>& blocks) {
  while (bytes > 0) {
    const Way way = kWaysWithoutPools[random() % std::size(kWaysWithoutPools)];
    const std::uint64_t piece = PieceOf(way, std::min<std::uint64_t>(bytes, 1 + random() % kLargest));
    if (piece == 0) continue;
    Block block;
    if (Take(way, piece, &block) != CUDA_SUCCESS) return false;
    blocks.push_back(block);
    bytes -= piece;
  }
  return true;
}

/// Uses up its part, and exchanges block after block. False when anything was not granted.
bool KeepToOnePart(CUcontext context, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Block> blocks;
  if (cuCtxSetCurrent(context) != CUDA_SUCCESS || !Fill(random, kPart, blocks)) return false;
  for (unsigned exchange = 0; exchange < kExchanges; ++exchange) {
    std::swap(blocks[random() % blocks.size()], blocks.back());
    const Block old = blocks.back();
    blocks.pop_back();
    if (Free(old) != CUDA_SUCCESS || !Fill(random, old.bytes, blocks)) return false;
    while (blocks.size() > kMostBlocks) {  // or they become ever smaller
      const std::uint64_t two = blocks.back().bytes + blocks[blocks.size() - 2].bytes;
      if (Free(blocks.back()) != CUDA_SUCCESS || Free(blocks[blocks.size() - 2]) != CUDA_SUCCESS) return false;
      blocks.resize(blocks.size() - 2);
      Block block;
      if (Take(Way::kLinear, two, &block) != CUDA_SUCCESS) return false;
      blocks.push_back(block);
    }
  }
  for (const Block& left : blocks) {
    if (Free(left) != CUDA_SUCCESS) return false;
  }
  return true;
}

/// Asks for more than there is, all the time. False when it was granted.
bool AskTooMuch(CUcontext context, const std::atomic<bool>& end) {
  if (cuCtxSetCurrent(context) != CUDA_SUCCESS) return false;
  while (!end) {
    for (const Way way : kWaysWithoutPools) {
      Block block;
      if (Take(way, PieceOf(way, kLimit) + PieceOf(Way::kPhysical, 64 << 10), &block) != CUDA_ERROR_OUT_OF_MEMORY) return false;
    }
  }
  return true;
}

/// Begins when all processes are there.
bool Live(std::atomic<unsigned>& there, unsigned seed) {
  CUcontext context = Start();
  there += 1;
  if (!shm::WaitFor([&] { return there == kProcesses; }, 60)) return false;
  std::atomic<bool> fine = true, end = false;
  std::vector<std::thread> threads;
  std::thread greedy([&] { fine = AskTooMuch(context, end) && fine; });
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      if (!KeepToOnePart(context, seed * kThreads + t)) fine = false;
    });
  }
  for (std::thread& thread : threads) thread.join();
  end = true;
  greedy.join();
  return fine;
}

TEST_CASE("Who keeps to a part that leaves the others theirs is never refused, whatever they do and however often others are refused") {
  const Tenants tenants(kLimit, kProfile);
  const shm::Shared<std::atomic<unsigned>> there;
  std::vector<pid_t> children;
  for (unsigned i = 0; i < kProcesses; ++i) children.push_back(Child([&, i] { return Live(*there, i); }));
  for (const pid_t pid : children) CHECK(Succeeded(pid));
  CHECK(tenants.IsFree(kLimit));
  CHECK(tenants.Used() == 0);
}

TEST_CASE("All that a killed process had is there for the next one at once") {
  const Tenants tenants(kLimit, kProfile);
  const auto take_all = [](char) {
    Start();
    Block block;
    return Take(Way::kLinear, kLimit, &block) == CUDA_SUCCESS;
  };
  for (int i = 0; i < 30; ++i) CHECK(Puppet(take_all).Do('a'));  // killed with the object
  CHECK(tenants.IsFree(kLimit));
}

}  // namespace
}  // namespace partage::intercept
