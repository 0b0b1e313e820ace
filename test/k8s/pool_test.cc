// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/pool.h"

#include <thread>

#include <catch2/catch.hpp>

#include "test/support/manual_clock.h"

namespace partage::k8s {
namespace {

using SteadyClock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Remembers what was done to it.
class Unconnected final : public Connection {
 public:
  std::optional<ExchangeFailure> Run(const Exchange&) override { return std::nullopt; }
  bool open() const override { return false; }
  void CloseIfStale() override { ++looked_at; }
  void Close() override { ++closed; }
  int looked_at = 0, closed = 0;
};

struct Made {
  test::ManualClock clock;
  std::vector<Unconnected*> connections;
  Pool pool{[this] {
              auto connection = std::make_unique<Unconnected>();
              connections.push_back(connection.get());
              return connection;
            },
            2, clock};
};

TEST_CASE("When all connections are busy, whoever comes gets none once its time is up, and one when another comes back") {
  Made made;
  auto first = std::make_unique<Pool::Lease>(made.pool.Acquire(SteadyClock::now()));
  const auto second = made.pool.Acquire(SteadyClock::now());
  REQUIRE(*first);
  REQUIRE(second);
  CHECK_FALSE(made.pool.Acquire(SteadyClock::now()));
  CHECK_FALSE(made.pool.Acquire(SteadyClock::now() + 5ms));
  std::jthread returning([&] { first.reset(); });
  CHECK(made.pool.Acquire(SteadyClock::now() + 1h));
  CHECK(made.connections.size() == 2);
}

TEST_CASE("The connection used last is used again: looked at first, and closed when it was idle for long") {
  Made made;
  { const auto lease = made.pool.Acquire(SteadyClock::now()); }
  { const auto lease = made.pool.Acquire(SteadyClock::now()); }
  REQUIRE(made.connections.size() == 1);
  CHECK(made.connections[0]->looked_at == 1);
  CHECK(made.connections[0]->closed == 0);
  made.clock.Advance(31s);
  { const auto lease = made.pool.Acquire(SteadyClock::now()); }
  REQUIRE(made.connections.size() == 1);
  CHECK(made.connections[0]->closed == 1);
}

}  // namespace
}  // namespace partage::k8s
