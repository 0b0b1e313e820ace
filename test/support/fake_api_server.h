// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/mutex.h"
#include "base/result.h"
#include "test/support/fake_listener.h"
#include "test/support/fake_store.h"

namespace partage::test {

/// What a request asks for.
enum class Verb { kGet, kList, kWatch, kCreate, kPatch, kDelete, kBind, kEvict, kEvent, kOther };
inline constexpr std::size_t kVerbCount = 10;

/// True for the verbs that write: create, patch, delete, bind, evict, event.
constexpr bool IsWrite(Verb verb) { return verb >= Verb::kCreate && verb <= Verb::kEvent; }

/// A request, as the fault hook and the record of calls see it.
struct ApiCall {
  Verb verb = Verb::kOther;
  Kind kind = Kind::kPods;  ///< of the object the verb applies to
  std::string ns, name;     ///< empty for collections and cluster-scoped objects
  HttpRequest http;

  /// "ns/name", or "name" for nodes.
  std::string Key() const { return ns.empty() ? name : ns + "/" + name; }
};

/// What to do to one request instead of, or around, executing it. The default does nothing.
struct Fault {
  std::chrono::milliseconds latency{0};        ///< before anything else
  int status = 0;                              ///< not executed; answered with this status and a Status object
  int retry_after_s = 0;                       ///< Retry-After of that answer; 0: no header
  bool close_before = false;                   ///< not executed; the connection is closed without an answer
  bool close_after = false;                    ///< executed; the connection is closed without an answer (a lost reply)
  bool reset = false;                          ///< the two above, and the one below, send RST instead of FIN
  bool half_body = false;                      ///< executed; the connection is closed in the middle of the answer's body
  std::chrono::milliseconds reply_latency{0};  ///< after executing, before answering
};

/// What happens to the events of every watch; a watch of a real server does none of it except to lag. One in 0 is never.
struct WatchFaults {
  int repeat_one_in = 0;               ///< an event is sent once more, some events later
  int swap_one_in = 0;                 ///< an event changes places with the one after it; who is cut off between the two gets both again
  std::chrono::milliseconds delay{0};  ///< before events are sent; what happens meanwhile is sent together with them
  unsigned seed = 1;
};

/// An API server small enough to trust, for tests and benchmarks: real HTTP on a loopback port, real versions, real watch streams, in one process with the
/// test. It keeps nodes and pods and answers like kube-apiserver:
///
/// - LIST with limit/continue (every page shows the state of the first), resourceVersion, fieldSelector spec.nodeName, metadata.name and the scheduler's own on
///   status.phase, per namespace;
/// - WATCH from a version, bookmarks, timeoutSeconds, sendInitialEvents; 410 as an ERROR event (or as a status) for forgotten versions;
/// - GET, POST, PATCH (application/merge-patch+json), DELETE of objects; a bound pod that has not finished is deleted gracefully: it gets a deletionTimestamp,
/// and
///   goes when it is deleted with gracePeriodSeconds=0, which is kubelet's part;
/// - POST pods/{name}/binding: uid and resourceVersion preconditions, 409 for a pod that is bound, deleting or gated, 404 for one that is gone, annotations
///   and labels merged with the node name in one write;
/// - POST pods/{name}/eviction: a graceful deletion with preconditions and dryRun=All, refused (429) where a disruption budget (SetBudget) has nothing left;
/// - POST events (either API group): counted and remembered.
///
/// Faults come from a hook that sees every request (OnCall), from SetWriteLatency, and from the watch switches below. The same contract suite holds for it and
/// for kube-apiserver (test/contract/api_server_contract_test.cc). 1.2 million small pods take about
/// their text plus 250 bytes each. One thread a connection: a slow call delays nobody else. Thread-safe.
///
///     FakeApiServer api;
///     api.Put(Kind::kNodes, R"({"metadata":{"name":"n1"}})");
///     api.OnCall([](const ApiCall& call) { return Fault{.status = call.verb == Verb::kBind ? 503 : 0}; });
///     auto client = k8s::Client::Make({.server = api.url()}, clock);
class FakeApiServer {
 public:
  /// How the server treats sendInitialEvents.
  enum class WatchList { kServed, kRefused /* 422 */, kIgnored /* an old server: an ordinary watch from nothing */ };
  struct Options {
    WatchList watch_list = WatchList::kServed;
    bool gone_as_status = false;                         ///< a watch from a forgotten version: HTTP 410 instead of an ERROR event
    std::chrono::milliseconds bookmark_interval{60000};  ///< of watches that allow bookmarks
    std::size_t history = 50000;                         ///< changes remembered per kind; an older version is 410
    std::size_t chunk_bytes = 0;                         ///< watch frames are cut into HTTP chunks of this size; 0: one chunk a batch
    bool listens = true;                                 ///< false: no socket; Call is the only way in
    std::size_t list_limit = 0;                          ///< most objects a LIST page holds, whatever was asked; 0: no limit
  };

  FakeApiServer() : FakeApiServer(Options()) {}
  explicit FakeApiServer(Options options);  ///< started, if it listens at all
  ~FakeApiServer();

  /// "http://127.0.0.1:PORT"; stays the same over Stop and Start.
  std::string url() const;
  int port() const { return listener_.port(); }
  void Stop();   ///< connections are cut, new ones refused; objects stay. Idempotent
  void Start();  ///< REQUIRES: stopped

  struct Answer {
    int status = 200;
    std::string body{}, headers{};
  };
  /// Executes a request in the calling thread, without a socket, a fault or a record. Not for watches; store().Since() is what they are made of.
  Answer Call(std::string method, std::string path, std::string body = {});

  // ---- Objects ----

  const FakeStore& store() const { return store_; }

  /// Creates or replaces an object from its JSON text; a missing uid is made up. Returns its version; aborts when the text is no object with a name.
  /// Fast for texts in the form described at FakeStore::Put.
  std::uint64_t Put(Kind kind, std::string_view json);
  /// False when there is no such object. `key`: "ns/name", or "name" for nodes.
  bool Remove(Kind kind, const std::string& key);
  /// Merge-patches an object. False when there is none.
  bool Patch(Kind kind, const std::string& key, const nlohmann::json& patch);
  /// nullopt when there is none.
  std::optional<nlohmann::json> Get(Kind kind, const std::string& key) const;
  std::size_t Size(Kind kind) const { return store_.Size(kind); }
  std::uint64_t version() const { return store_.version(); }

  // ---- Faults ----

  /// Every request is shown to `hook` before it is executed. Called on connection threads, several at a time. An empty hook ends faults.
  void OnCall(std::function<Fault(const ApiCall&)> hook);
  /// Every write (also failing ones) takes this long.
  void SetWriteLatency(std::chrono::nanoseconds latency) { write_latency_ = latency; }
  /// Requests without this bearer token are answered 401; empty: everybody may.
  void RequireToken(std::string token);
  /// Ends all watches as a server that goes away does: the connections close in the middle of the body.
  void CutWatches() { ++watch_cuts_; }
  /// Watches stay open but nothing is sent on them (a half-open connection).
  void FreezeWatches(bool on) { watches_frozen_ = on; }
  /// Sends an ERROR event with this code on all watches and ends them.
  void FailWatches(int code);
  void SetWatchFaults(const WatchFaults& faults);
  /// Forgets the past: lists that continue and watches that are behind get 410.
  void Compact() { store_.Compact(); }
  /// Closes connections that wait between two requests.
  void CloseIdleConnections() { listener_.CloseIdle(); }

  /// A PodDisruptionBudget over the pods labelled app=`app`: so many more of them may be evicted while they run. nullopt: there is none.
  void SetBudget(const std::string& app, std::optional<int> disruptions);

  // ---- Record ----

  /// Requests of a verb on a kind that arrived, answered or not.
  std::uint64_t Calls(Verb verb, Kind kind = Kind::kPods) const;
  /// Writes that changed an object, i.e. what etcd would have seen: creates, patches, deletes, bindings and evictions.
  std::uint64_t Writes() const { return writes_; }
  /// Watches open now (one whose client went away counts for up to 20 ms more), and since construction.
  int OpenWatches() const { return open_watches_; }
  int WatchesOpened() const { return watches_opened_; }
  std::uint64_t Connections() const { return listener_.accepted(); }
  /// The last 1,000 events posted.
  std::vector<nlohmann::json> Events() const;

 private:
  void Handle(const HttpRequest& request, HttpReply& reply);
  bool Authorized(const HttpRequest& request) const;
  Fault FaultFor(const ApiCall& call) const;
  WatchFaults watch_faults() const;
  void NoteSwapped(std::uint64_t first, std::uint64_t second);
  std::uint64_t WatchedFrom(std::uint64_t version) const;
  void Execute(const ApiCall& call, const Fault& fault, HttpReply& reply);
  Answer Run(const ApiCall& call);
  Answer RunSafely(const ApiCall& call);
  Answer List(const ApiCall& call) const;
  Answer Create(const ApiCall& call);
  Answer MergePatch(const ApiCall& call);
  Answer Delete(const ApiCall& call);
  Answer DeleteObject(const ApiCall& call, const nlohmann::json& options, bool evicted);
  Answer Bind(const ApiCall& call);
  Answer Evict(const ApiCall& call);
  Result<> AskBudget(const nlohmann::json& pod, bool spend);
  Answer RecordEvent(const ApiCall& call);
  Answer Written(const Result<StoredRef>& result, Kind kind, int status);
  void Watch(const ApiCall& call, HttpReply& reply);
  class WatchStream;

  const Options options_;
  FakeStore store_;
  std::atomic<std::chrono::nanoseconds> write_latency_{};
  std::atomic<std::uint64_t> watch_cuts_{0}, watch_failures_{0}, writes_{0};
  std::atomic<int> watch_failure_code_{410}, open_watches_{0}, watches_opened_{0};
  std::atomic<bool> watches_frozen_{false};
  std::array<std::array<std::atomic<std::uint64_t>, kKindCount>, kVerbCount> calls_{};
  mutable Mutex mutex_;
  std::function<Fault(const ApiCall&)> hook_ PARTAGE_GUARDED_BY(mutex_);
  std::string token_ PARTAGE_GUARDED_BY(mutex_);
  WatchFaults watch_faults_ PARTAGE_GUARDED_BY(mutex_);
  std::map<std::uint64_t, std::uint64_t> swapped_
      PARTAGE_GUARDED_BY(mutex_);  // version of an event that was sent early → the lowest one it overtook
  std::deque<nlohmann::json> events_ PARTAGE_GUARDED_BY(mutex_);
  std::map<std::string, int> budgets_ PARTAGE_GUARDED_BY(mutex_);
  FakeListener listener_;  // last: its threads use everything above
};

}  // namespace partage::test
