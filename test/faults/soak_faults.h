// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "test/support/fake_api_server.h"

namespace partage::test {

/// Bad weather for the fake API server: of a hundred requests some meet one of every fault it has, watches are cut, fail, freeze, repeat and swap events, the
/// past is forgotten, the server is away for a moment. While Calm, none of it.
class SoakFaults {
 public:
  SoakFaults(FakeApiServer& api, unsigned seed);
  ~SoakFaults();

  /// Returns when the last fault is over.
  void Calm();
  void Storm();
  /// How often each kind struck.
  std::map<std::string, std::uint64_t> counts() const;

 private:
  Fault ForCall(const ApiCall& call);
  void Run(const std::stop_token& stop);
  void Disturb();
  int Below(int n);
  void Count(const std::string& what);

  FakeApiServer& api_;
  mutable Mutex mutex_;
  Mutex disturbing_;
  std::mt19937 dice_ PARTAGE_GUARDED_BY(mutex_);
  bool storm_ PARTAGE_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::uint64_t> counts_ PARTAGE_GUARDED_BY(mutex_);
  std::jthread thread_;
};

}  // namespace partage::test
