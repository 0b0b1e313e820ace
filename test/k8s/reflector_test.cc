// SPDX-License-Identifier: Apache-2.0
#include "k8s/informer/reflector.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>

#include "k8s/informer/frame_reader.h"
#include "test/k8s/recording_sink.h"
#include "test/support/fake_api_server.h"

namespace partage::k8s {
namespace {

using namespace std::chrono_literals;
using test::ApiCall;
using test::FakeApiServer;
using test::Fault;
using test::Kind;
using test::Verb;
using PodSink = test::RecordingSink<Pod>;

std::string PodText(int i, const std::string& node = {}) {
  return fmt::format(R"({{"metadata":{{"name":"p{:04}","namespace":"ns"}},"spec":{{{}}}}})", i,
                     node.empty() ? "" : R"("nodeName":")" + node + "\"");
}
std::string PodKey(int i) { return fmt::format("ns/p{:04}", i); }

/// Waits for what another thread does, a millisecond at a time.
bool Eventually(const std::function<bool()>& done) {
  for (int i = 0; i < 10000; ++i) {
    if (done()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return false;
}

/// A server with ten pods, a client, and a reflector with short delays.
struct Fixture {
  explicit Fixture(FakeApiServer::Options server_options = {}) : server(server_options), api(server) {
    for (int i = 0; i < 10; ++i) api.Put(Kind::kPods, PodText(i));
    client = *Client::Make({.server = api.url()}, clock);
    options = {.path = "/api/v1/pods", .page_size = 3, .watch_list_patience = 200ms, .backoff_first = 2ms, .backoff_max = 20ms};
  }
  void Start() { reflector.emplace(*client, options, sink, clock); }
  /// Synced, and the watch that follows is open.
  void StartSynced() {
    Start();
    REQUIRE(reflector->WaitSynced(10s));
    const int streaming_lists = options.watch_list && server.watch_list != FakeApiServer::WatchList::kRefused;
    REQUIRE(Eventually([&] { return api.WatchesOpened() == 1 + streaming_lists && api.OpenWatches() == 1; }));
  }
  /// The watch has delivered something, so that its end is no error.
  void SeeOneEvent() {
    const auto version = api.Put(Kind::kPods, PodText(0));
    REQUIRE(sink.WaitFor([=](const auto& state) { return state.versions.at(PodKey(0)) == version; }));
  }
  /// The sink holds exactly what the server holds.
  bool InStep() {
    return sink.WaitFor([&](const PodSink::State& state) {
      if (state.versions.size() != api.Size(Kind::kPods)) return false;
      return std::all_of(state.versions.begin(), state.versions.end(), [&](const auto& item) {
        const auto live = api.Get(Kind::kPods, item.first);
        return live && live->at("metadata").at("resourceVersion") == std::to_string(item.second);
      });
    });
  }

  SystemClock clock;
  const FakeApiServer::Options server;
  FakeApiServer api;
  std::unique_ptr<Client> client;
  ReflectorOptions options;
  PodSink sink;
  std::optional<Reflector<Pod>> reflector;
};

TEST_CASE("A streaming list fills the sink, then changes follow") {
  Fixture t;
  t.StartSynced();
  CHECK(t.sink.state().versions.size() == 10);
  CHECK(t.api.Calls(Verb::kList) == 0);
  t.api.Put(Kind::kPods, PodText(10));
  t.api.Patch(Kind::kPods, PodKey(1), {{"metadata", {{"annotations", {{"a", "b"}}}}}});
  t.api.Remove(Kind::kPods, PodKey(2));
  CHECK(t.InStep());
  CHECK(t.sink.state().removed == std::vector<std::string>{PodKey(2)});
  CHECK(t.reflector->stats().events == 3);
  CHECK(t.reflector->stats().lists == 1);
}

TEST_CASE("A list by pages shows one state, whatever changes meanwhile, and the watch goes on from it") {
  Fixture t;
  t.options.watch_list = false;
  std::atomic<int> lists{0};
  t.api.OnCall([&](const ApiCall& call) {
    if (call.verb == Verb::kList && ++lists == 2) {
      t.api.Remove(Kind::kPods, PodKey(9));
      t.api.Put(Kind::kPods, PodText(11));
    }
    return Fault{};
  });
  t.StartSynced();
  CHECK(t.InStep());
  CHECK(lists == 4);
  CHECK(t.sink.state().removed == std::vector<std::string>{PodKey(9)});
}

/// The first events that a watch from there brings.
std::vector<std::uint64_t> FirstEvents(Client& client, std::uint64_t from, std::size_t count) {
  std::vector<std::uint64_t> versions;
  FrameReader frames;
  Client::Stream stream;
  stream.idle = 5s;
  stream.on_status = [](const Reply&) { return true; };
  stream.on_data = [&](std::string_view piece) {
    REQUIRE(frames.Feed(piece, [&](const Frame& frame) {
      versions.push_back(std::stoull(std::string(frame.object["metadata"]["resourceVersion"].get_string().value())));
      return versions.size() < count;
    }));
    return versions.size() < count;
  };
  (void)client.GetStream(fmt::format("/api/v1/pods?watch=1&resourceVersion={}", from), stream, {});
  return versions;
}

TEST_CASE("Events of the fake server that changed places are not lost to a client that is cut off between them") {
  Fixture t;
  const auto before = t.api.Put(Kind::kPods, PodText(0));
  const auto first = t.api.Put(Kind::kPods, PodText(1));
  t.api.Remove(Kind::kPods, PodKey(2));
  const auto last = t.api.Put(Kind::kPods, PodText(3));
  t.api.SetWatchFaults({.swap_one_in = 1});
  const auto all = FirstEvents(*t.client, before, 3);
  REQUIRE(all == std::vector<std::uint64_t>{first + 1, last, first});
  for (const auto seen_last : all) {
    const auto again = FirstEvents(*t.client, seen_last, 2 + (seen_last != first));
    CHECK(std::count(again.begin(), again.end(), first) == (seen_last != first));
  }
}

TEST_CASE("An empty collection is synced too") {
  for (const bool watch_list : {true, false}) {
    Fixture t;
    for (int i = 0; i < 10; ++i) t.api.Remove(Kind::kPods, PodKey(i));
    t.options.watch_list = watch_list;
    t.StartSynced();
    CHECK(t.sink.state().versions.empty());
  }
}

TEST_CASE("A server that refuses sendInitialEvents is read by pages") {
  Fixture t({.watch_list = FakeApiServer::WatchList::kRefused});
  t.StartSynced();
  CHECK(t.sink.state().versions.size() == 10);
  CHECK(t.api.Calls(Verb::kList) == 4);
}

TEST_CASE("A server that ignores sendInitialEvents is read by pages, after its first bookmark or its silence") {
  for (const auto bookmarks : {20ms, 60000ms}) {
    Fixture t({.watch_list = FakeApiServer::WatchList::kIgnored, .bookmark_interval = bookmarks});
    t.StartSynced();
    CHECK(t.sink.state().versions.size() == 10);
    CHECK(t.api.Calls(Verb::kList) == 4);
  }
}

TEST_CASE("A watch that is cut goes on from its version, without a new read") {
  Fixture t;
  t.StartSynced();
  t.SeeOneEvent();
  t.api.CutWatches();
  t.api.Put(Kind::kPods, PodText(12));
  CHECK(t.InStep());
  CHECK(t.reflector->stats().lists == 1);
  CHECK(t.reflector->stats().watches == 2);
}

TEST_CASE("Bookmarks move the version that the next watch starts from") {
  Fixture t({.bookmark_interval = 5ms});
  std::atomic<std::uint64_t> asked_from{0};
  t.api.OnCall([&](const ApiCall& call) {
    const auto& query = call.http.query;
    if (call.verb == Verb::kWatch && query.contains("resourceVersion")) asked_from = std::stoull(query.at("resourceVersion"));
    return Fault{};
  });
  t.StartSynced();
  const auto moved = t.api.Put(Kind::kNodes, R"({"metadata":{"name":"n"}})");  // moves the version, but is no event of pods
  CHECK(Eventually([&] {
    t.api.CutWatches();
    return asked_from >= moved;
  }));
}

TEST_CASE("A watch refused with 429 keeps its version and comes again") {
  Fixture t;
  t.StartSynced();
  t.SeeOneEvent();
  std::atomic<int> refusals{3};
  t.api.OnCall([&](const ApiCall& call) { return Fault{.status = call.verb == Verb::kWatch && refusals-- > 0 ? 429 : 0}; });
  t.api.CutWatches();
  t.api.Put(Kind::kPods, PodText(13));
  CHECK(t.InStep());
  CHECK(t.reflector->stats().lists == 1);
  CHECK(t.reflector->stats().errors == 3);
}

TEST_CASE("A server that goes away and comes back is watched again, without a new read") {
  Fixture t;
  t.StartSynced();
  t.SeeOneEvent();
  t.api.Stop();
  t.api.Remove(Kind::kPods, PodKey(5));
  REQUIRE(Eventually([&] { return t.reflector->stats().errors >= 2; }));
  t.api.Start();
  CHECK(t.InStep());
  CHECK(t.reflector->stats().lists == 1);
}

TEST_CASE("A server that was away is found again soon, whatever the delays after its refusals are") {
  Fixture t;
  t.options.backoff_first = t.options.backoff_max = 60s;
  t.options.unreachable_max = 5ms;
  t.StartSynced();
  t.SeeOneEvent();
  t.api.Stop();
  t.api.Remove(Kind::kPods, PodKey(5));
  REQUIRE(Eventually([&] { return t.reflector->stats().errors >= 3; }));
  t.api.Start();
  CHECK(t.InStep());
}

TEST_CASE("A version that was forgotten is read anew at once, and with delays when the new one is refused, too") {
  Fixture t;
  t.options.watch_list = false;
  t.options.backoff_first = t.options.backoff_max = 60s;
  t.StartSynced();
  t.SeeOneEvent();
  t.api.OnCall([](const ApiCall& call) { return Fault{.status = call.verb == Verb::kWatch ? 410 : 0}; });
  t.api.CutWatches();
  CHECK(Eventually([&] { return t.reflector->stats().lists == 2; }));
  CHECK(Eventually([&] { return t.reflector->stats().errors == 2; }));
  CHECK(t.reflector->stats().lists == 2);
}

TEST_CASE("A forgotten version leads to a new read, which finds what was removed meanwhile") {
  for (const bool as_status : {false, true}) {
    Fixture t({.gone_as_status = as_status});
    t.StartSynced();
    t.SeeOneEvent();
    t.api.FreezeWatches(true);
    t.api.Remove(Kind::kPods, PodKey(3));
    t.api.Put(Kind::kPods, PodText(14));
    t.api.Compact();
    if (as_status) t.api.CutWatches();
    t.api.FreezeWatches(false);
    CHECK(t.InStep());
    CHECK(t.sink.state().removed.empty());
    CHECK(t.sink.state().ends == 2);
    CHECK(t.reflector->stats().relists_410 == 1);
  }
}

TEST_CASE("An ERROR event with another code leads to a new read, 429 to a new watch") {
  Fixture t;
  t.StartSynced();
  t.SeeOneEvent();
  t.api.FailWatches(429);
  REQUIRE(Eventually([&] { return t.reflector->stats().watches == 2; }));
  CHECK(t.reflector->stats().lists == 1);
  REQUIRE(Eventually([&] { return t.api.OpenWatches() == 1; }));
  t.api.FailWatches(500);
  REQUIRE(Eventually([&] { return t.reflector->stats().lists == 2; }));
  CHECK(t.InStep());
}

TEST_CASE("A watch that ends at once without an event counts as an error") {
  Fixture t;
  t.StartSynced();
  t.api.CutWatches();
  CHECK(Eventually([&] { return t.reflector->stats().lists == 2; }));
  CHECK(t.reflector->stats().errors == 1);
}

TEST_CASE("A failed read is begun again, and a continue token that aged out too") {
  for (const int status : {500, 410}) {
    Fixture t;
    t.options.watch_list = false;
    std::atomic<int> lists{0};
    t.api.OnCall([&](const ApiCall& call) { return Fault{.status = call.verb == Verb::kList && ++lists == 3 ? status : 0}; });
    t.StartSynced();
    CHECK(t.InStep());
    CHECK(t.sink.state().begins == 2);
    CHECK(t.sink.state().ends == 1);
    CHECK(t.reflector->stats().relists_410 == (status == 410 ? 1 : 0));
  }
}

TEST_CASE("Objects that cannot be decoded are reported by name and stop nothing, a deletion is obeyed all the same") {
  for (const bool watch_list : {true, false}) {
    Fixture t;
    t.options.watch_list = watch_list;
    t.api.Put(Kind::kPods, R"({"metadata":{"name":"bad","namespace":"ns"},"spec":{"containers":7}})");
    t.StartSynced();
    auto state = t.sink.state();
    CHECK(state.versions.size() == 10);
    CHECK(state.undecodable == std::vector<std::string>{"ns/bad: Pod spec.containers is a number, not an array"});
    t.api.Remove(Kind::kPods, "ns/bad");
    REQUIRE(t.sink.WaitFor([](const auto& now) { return !now.removed.empty(); }));
    CHECK(t.sink.state().removed == std::vector<std::string>{"ns/bad"});
    CHECK(t.reflector->stats().undecodable == 2);
  }
}

TEST_CASE("Frames may be cut into chunks anywhere") {
  for (const std::size_t chunk : {1, 7, 64}) {
    Fixture t({.chunk_bytes = chunk});
    t.StartSynced();
    for (int i = 20; i < 40; ++i) t.api.Put(Kind::kPods, PodText(i));
    CHECK(t.InStep());
  }
}

TEST_CASE("Events that arrive together are flushed together") {
  Fixture t;
  t.StartSynced();
  t.api.FreezeWatches(true);
  for (int i = 100; i < 1100; ++i) t.api.Put(Kind::kPods, PodText(i));
  const auto before = t.sink.state().flushes;
  t.api.FreezeWatches(false);
  CHECK(t.InStep());
  CHECK(t.sink.state().flushes - before < 50);
}

TEST_CASE("A field selector shows objects that enter and leave it") {
  Fixture t;
  t.options.query = "fieldSelector=spec.nodeName%3Dn1";
  t.StartSynced();
  CHECK(t.sink.state().versions.empty());
  t.api.Put(Kind::kPods, PodText(1, "n1"));
  REQUIRE(t.sink.WaitForSize(1));
  t.api.Put(Kind::kPods, PodText(1, "n2"));
  REQUIRE(t.sink.WaitForSize(0));
}

TEST_CASE("Nodes are reflected like pods") {
  Fixture t;
  t.api.Put(Kind::kNodes, R"({"metadata":{"name":"n1","annotations":{"a":"b"}}})");
  t.options.path = "/api/v1/nodes";
  test::RecordingSink<Node> sink;
  Reflector<Node> reflector(*t.client, t.options, sink, t.clock);
  REQUIRE(reflector.WaitSynced(10s));
  CHECK(sink.state().versions.size() == 1);
}

TEST_CASE("Stop is quick, whatever the reflector waits for") {
  const auto stop_takes = [](Fixture& t) {
    const auto started = std::chrono::steady_clock::now();
    t.reflector->Stop();
    t.reflector->Stop();
    return std::chrono::steady_clock::now() - started;
  };
  SECTION("a silent watch") {
    Fixture t;
    t.StartSynced();
    CHECK(stop_takes(t) < 1s);
  }
  SECTION("a back-off") {
    Fixture t;
    t.options.backoff_first = t.options.backoff_max = 60s;
    t.api.OnCall([](const ApiCall&) { return Fault{.status = 500}; });
    t.Start();
    REQUIRE(Eventually([&] { return t.reflector->stats().errors == 1; }));
    CHECK(stop_takes(t) < 1s);
  }
  SECTION("a server that does not answer a list") {
    Fixture t;
    t.options.watch_list = false;
    t.api.OnCall([](const ApiCall&) { return Fault{.latency = 60s}; });
    t.Start();
    REQUIRE(Eventually([&] { return t.api.Calls(Verb::kList) == 1; }));
    CHECK_FALSE(t.reflector->WaitSynced(1ms));
    CHECK(stop_takes(t) < 1s);
  }
}

TEST_CASE("After any mix of changes, cuts, faults and forgotten versions the sink equals the server", "[property]") {
  for (const unsigned seed : {1u, 2u, 3u, 4u}) {
    Fixture t({.bookmark_interval = 3ms, .history = 200});
    t.options.watch_list = seed % 2 == 0;
    t.options.page_size = 20;
    std::mt19937 random(seed);
    std::atomic<int> calls{0};
    t.api.OnCall([&](const ApiCall& call) {
      const int n = ++calls;
      if (n % 13 == 3) return Fault{.status = n % 2 == 0 ? 429 : 500};
      if (n % 17 == 5) return Fault{.close_before = true, .reset = call.verb == Verb::kWatch};
      return Fault{};
    });
    t.Start();
    for (int step = 0; step < 1500; ++step) {
      const int i = static_cast<int>(random() % 40);
      switch (random() % 60) {
        case 0: t.api.CutWatches(); break;
        case 1: t.api.FailWatches(random() % 2 == 0 ? 410 : 500); break;
        case 2: t.api.Compact(); break;
        case 3:
        case 4:
        case 5:
        case 6: std::this_thread::sleep_for(std::chrono::milliseconds(random() % 12)); break;
        default: random() % 3 == 0 ? void(t.api.Remove(Kind::kPods, PodKey(i))) : void(t.api.Put(Kind::kPods, PodText(i)));
      }
    }
    t.api.OnCall({});
    INFO("seed " << seed);
    CHECK(t.InStep());
    CHECK(t.reflector->stats().lists > 2);
    CHECK(t.reflector->stats().watches > 2);
    CHECK(t.reflector->stats().events > 10);
  }
}

// ---- A read that somebody asks for ----

TEST_CASE("A read that is asked for shows what the watch has not brought, and the watch goes on after it") {
  Fixture f;
  f.options.watch_list = GENERATE(true, false);
  f.StartSynced();
  f.api.FreezeWatches(true);
  f.api.Put(Kind::kPods, PodText(10));
  f.api.Remove(Kind::kPods, PodKey(1));
  const auto number = f.reflector->ReadAgain();
  f.api.FreezeWatches(false);
  REQUIRE(Eventually([&] { return f.reflector->HasRead(number); }));
  CHECK(f.sink.state().versions.contains(PodKey(10)));
  CHECK_FALSE(f.sink.state().versions.contains(PodKey(1)));
  CHECK(f.sink.state().ends == 2);
  CHECK(f.reflector->stats().errors == 0);
  f.SeeOneEvent();
}

TEST_CASE("A read that had begun before does not count as the one asked for") {
  Fixture f;
  f.options.watch_list = false;
  std::atomic<bool> listing{false}, go_on{false};
  f.api.OnCall([&](const ApiCall& call) {
    if (call.verb != Verb::kList) return Fault{};
    listing = true;
    Eventually([&] { return go_on.load(); });
    return Fault{};
  });
  f.Start();
  REQUIRE(Eventually([&] { return listing.load(); }));
  const auto number = f.reflector->ReadAgain();
  go_on = true;
  REQUIRE(Eventually([&] { return f.reflector->HasRead(number); }));
  CHECK(f.sink.state().ends == 2);
}

TEST_CASE("A read that is asked for while the server is away comes within a second of its return, not after the whole back-off") {
  Fixture f;
  f.options.backoff_first = f.options.backoff_max = 60s;
  f.StartSynced();
  f.api.Stop();
  const auto number = f.reflector->ReadAgain();
  REQUIRE(Eventually([&] { return f.reflector->stats().errors > 0; }));
  f.api.Start();
  CHECK(Eventually([&] { return f.reflector->HasRead(number); }));
}

/// Does something when a line with this text is logged, in the thread that logs it.
class AtLogLine final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  AtLogLine(std::string text, std::function<void()> act) : text_(std::move(text)), act_(std::move(act)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& line) override {
    if (std::string_view(line.payload.data(), line.payload.size()).find(text_) != std::string_view::npos) act_();
  }
  void flush_() override {}

  std::string text_;
  std::function<void()> act_;
};

TEST_CASE("A read that is asked for between the choice of a back-off and its beginning does not wait for its end") {
  Fixture f;
  f.options.backoff_first = f.options.backoff_max = 60s;
  std::atomic<std::uint64_t> number = 0;
  auto& sinks = spdlog::default_logger_raw()->sinks();
  sinks.push_back(std::make_shared<AtLogLine>("again in", [&] {
    if (number == 0) number = f.reflector->ReadAgain();
  }));
  f.StartSynced();
  f.api.Stop();
  CHECK(Eventually([&] { return number != 0; }));
  f.api.Start();
  CHECK(Eventually([&] { return f.reflector->HasRead(number); }));
  f.reflector->Stop();
  sinks.pop_back();
}

}  // namespace
}  // namespace partage::k8s
