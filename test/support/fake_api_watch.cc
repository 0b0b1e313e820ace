// SPDX-License-Identifier: Apache-2.0
// The watch verb of the fake API server.
#include <random>

#include "test/support/fake_api_server.h"
#include "test/support/fake_api_wire.h"

namespace partage::test {
namespace {

constexpr std::size_t kBatchBytes = 256 * 1024;
constexpr std::chrono::milliseconds kSlice{20};  // how late a switch of the test may be seen

std::string ErrorFrame(int code, std::string_view message) {
  return fmt::format("{{\"type\":\"ERROR\",\"object\":{}}}\n", StatusBody(code, message));
}

}  // namespace

// One open watch: frames collect in `batch_` and leave together.
class FakeApiServer::WatchStream {
 public:
  WatchStream(FakeApiServer& server, const ApiCall& call, HttpReply& reply)
      : server_(server),
        call_(call),
        reply_(reply),
        selector_(SelectorOf(call.http.query, call.ns)),
        cuts_(server.watch_cuts_),
        failures_(server.watch_failures_) {
    const auto timeout = QueryOf(call.http.query, "timeoutSeconds");
    ends_ = Now() + std::chrono::seconds(timeout.empty() ? 1800 : std::atoi(timeout.c_str()));
    bookmarks_ = IsTrue(QueryOf(call.http.query, "allowWatchBookmarks"));
    next_bookmark_ = Now() + server.options_.bookmark_interval;
    ++server_.watches_opened_;
    ++server_.open_watches_;
  }
  ~WatchStream() { --server_.open_watches_; }

  void Run(bool send_initial_events) {
    version_ = server_.WatchedFrom(NumberOf(QueryOf(call_.http.query, "resourceVersion")));
    const bool from_nothing = send_initial_events || version_ == 0;
    if (server_.options_.gone_as_status && !from_nothing && !server_.store_.Since(call_.kind, selector_, version_, {})) {
      return reply_.Send(410, StatusBody(410, "too old resource version"));
    }
    if (!reply_.Begin(200)) return;
    if (from_nothing) InitialEvents(send_initial_events);
    while (Step()) {
    }
  }

 private:
  using Time = std::chrono::steady_clock::time_point;
  static Time Now() { return std::chrono::steady_clock::now(); }

  void InitialEvents(bool marked) {
    const auto page = server_.store_.List(call_.kind, selector_, 0, {}, 0);
    version_ = page->version;
    for (const auto& object : page->objects) Frame("ADDED", *object);
    if (marked) Bookmark(R"("annotations":{"k8s.io/initial-events-end":"true"},)");
    Flush();
  }

  // In the order of the store, unless faults are wanted.
  void Send(std::vector<FakeStore::Change> changes) {
    const auto faults = server_.watch_faults();
    if (faults.repeat_one_in + faults.swap_one_in > 0) Disturb(changes, faults);
    for (const auto& change : changes) Frame(change.type, *change.object);
    if (!changes.empty() && faults.delay.count() > 0) server_.listener_.Sleep(faults.delay);
  }

  void Disturb(std::vector<FakeStore::Change>& changes, const WatchFaults& faults) {
    if (!dice_) dice_.emplace(faults.seed);
    const auto strikes = [&](int one_in) { return one_in > 0 && (*dice_)() % static_cast<unsigned>(one_in) == 0; };
    for (std::size_t i = 0; i + 1 < changes.size(); ++i) {
      if (!strikes(faults.swap_one_in)) continue;
      std::swap(changes[i], changes[i + 1]);
      server_.NoteSwapped(changes[i].object->version, changes[i + 1].object->version);
    }
    for (auto left = changes.size(); left > 0; --left) {
      if (strikes(faults.repeat_one_in)) repeated_.push_back(changes[changes.size() - left]);
    }
    if (repeated_.size() > 10) changes.insert(changes.end(), repeated_.begin(), repeated_.end()), repeated_.clear();
  }

  bool Step() {
    // Waiting comes first, so that a change made after a switch was turned is not sent any more.
    const auto changes = server_.store_.Since(call_.kind, selector_, version_, kSlice);
    if (server_.listener_.stopping() || cuts_ != server_.watch_cuts_ || reply_.ClientGone()) return reply_.Drop(), false;
    if (failures_ != server_.watch_failures_) return EndWith(ErrorFrame(server_.watch_failure_code_, "a fault on demand"));
    if (server_.watches_frozen_) return server_.listener_.Sleep(kSlice);
    if (!changes) return EndWith(ErrorFrame(410, fmt::format("too old resource version: {}", version_)));
    version_ = changes->version;
    Send(changes->changes);
    if (bookmarks_ && Now() >= next_bookmark_) {
      Bookmark();
      next_bookmark_ = Now() + server_.options_.bookmark_interval;
    }
    if (Now() >= ends_) return EndWith({});
    return Flush();
  }

  void Frame(std::string_view type, const StoredObject& object) {
    fmt::format_to(std::back_inserter(batch_), R"({{"type":"{}","object":)", type);
    object.AppendTo(batch_, WordsOf(call_.kind).type_meta);
    batch_ += "}\n";
    if (batch_.size() >= kBatchBytes) Flush();
  }

  void Bookmark(std::string_view annotations = {}) {
    fmt::format_to(std::back_inserter(batch_),
                   R"({{"type":"BOOKMARK","object":{{{}"metadata":{{{}"resourceVersion":"{}","creationTimestamp":null}}}}}})"
                   "\n",
                   WordsOf(call_.kind).type_meta, annotations, version_);
  }

  bool EndWith(const std::string& last_frame) {
    batch_ += last_frame;
    if (Flush()) reply_.End();
    return false;
  }

  bool Flush() {
    const auto piece = server_.options_.chunk_bytes == 0 ? batch_.size() : server_.options_.chunk_bytes;
    for (std::size_t at = 0; at < batch_.size(); at += piece) reply_.Chunk(std::string_view(batch_).substr(at, piece));
    batch_.clear();
    return !reply_.dropped();
  }

  FakeApiServer& server_;
  const ApiCall& call_;
  HttpReply& reply_;
  const Selector selector_;
  const std::uint64_t cuts_, failures_;
  Time ends_, next_bookmark_;
  bool bookmarks_ = false;
  std::uint64_t version_ = 0;
  std::optional<std::mt19937> dice_;
  std::vector<FakeStore::Change> repeated_;  // to be sent once more
  std::string batch_;
};

void FakeApiServer::NoteSwapped(std::uint64_t first, std::uint64_t second) {
  MutexLock lock(mutex_);
  const auto known = swapped_.try_emplace(first, second).first;
  known->second = std::min(known->second, second);
}

// A watch that was cut after the first of two that changed places would never bring the second, which no server does to its clients.
std::uint64_t FakeApiServer::WatchedFrom(std::uint64_t version) const {
  MutexLock lock(mutex_);
  const auto swapped = swapped_.find(version);
  return swapped == swapped_.end() ? version : swapped->second - 1;
}

void FakeApiServer::Watch(const ApiCall& call, HttpReply& reply) {
  const auto& query = call.http.query;
  const bool asked = query.contains("sendInitialEvents");
  const bool match = query.contains("resourceVersionMatch");
  const bool ignored = options_.watch_list == WatchList::kIgnored;
  const bool refused = options_.watch_list == WatchList::kRefused || QueryOf(query, "resourceVersionMatch") != "NotOlderThan";
  if (!ignored && asked && refused) {
    return reply.Send(422, StatusBody(422, "ListOptions is invalid: sendInitialEvents: Forbidden"));
  }
  if (!ignored && match && !asked) {
    return reply.Send(
        422, StatusBody(422, "ListOptions is invalid: resourceVersionMatch: Forbidden for watch unless sendInitialEvents is provided"));
  }
  WatchStream(*this, call, reply).Run(asked && !ignored && IsTrue(QueryOf(query, "sendInitialEvents")));
}

}  // namespace partage::test
