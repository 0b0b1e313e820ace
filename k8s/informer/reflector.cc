// SPDX-License-Identifier: Apache-2.0
#include "k8s/informer/reflector.h"

#include <algorithm>
#include <future>
#include <random>
#include <thread>

#include "base/log.h"
#include "base/mutex.h"
#include "k8s/api/decode.h"
#include "k8s/informer/backoff.h"
#include "k8s/informer/frame_reader.h"
#include "k8s/informer/list_page.h"

namespace partage::k8s {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kListIdle{60};    // an API server gives up on a LIST after as long
constexpr seconds kWatchGrace{30};  // how late a server may end a watch
constexpr seconds kShortWatch{1};
constexpr seconds kLongestWaitForWanted{1};  // somebody waits for the read
constexpr std::size_t kMaxErrorBody = 1 << 20;
constexpr std::size_t kMaxPage = 1u << 30;

Result<Pod> DecodeAs(simdjson::dom::element object, const Pod*) { return DecodePod(object); }
Result<Node> DecodeAs(simdjson::dom::element object, const Node*) { return DecodeNode(object); }
Result<ResourceQuota> DecodeAs(simdjson::dom::element object, const ResourceQuota*) { return DecodeResourceQuota(object); }

std::string_view TextAt(simdjson::dom::element object, std::string_view pointer) {
  std::string_view text;
  return object.at_pointer(pointer).get(text) == simdjson::SUCCESS ? text : std::string_view();
}

void IdentifyAs(simdjson::dom::element object, Pod& pod) {
  pod.ns = TextAt(object, "/metadata/namespace");
  pod.node_name = TextAt(object, "/spec/nodeName");
  pod.phase = TextAt(object, "/status/phase");
}
void IdentifyAs(simdjson::dom::element, Node&) {}
void IdentifyAs(simdjson::dom::element object, ResourceQuota& quota) { quota.ns = TextAt(object, "/metadata/namespace"); }

// What can still be read of an object that does not decode.
template <class T>
T Identify(simdjson::dom::element object) {
  T identity;
  identity.name = TextAt(object, "/metadata/name");
  identity.uid = TextAt(object, "/metadata/uid");
  IdentifyAs(object, identity);
  return identity;
}

std::string Escape(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    const bool plain = std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~';
    out += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

/// How a full read or a watch ended.
struct Ending {
  std::optional<Error> error;  ///< none: go on at once
  bool keep_version = false;   ///< the watch can go on from where it was
  milliseconds at_least{0};    ///< the server asked for this much patience
  int status = 200;            ///< what the server said; 0: it was not reached
};

Ending Failed(Error error) { return {std::move(error)}; }
Ending Failed(Error error, const Reply& reply, bool keep_version = false) {
  return {std::move(error), keep_version, reply.retry_after, reply.status};
}

/// What came of one GET.
struct Answer {
  Reply reply;
  Result<> transport;

  /// The failure that it stands for, if any.
  std::optional<Error> error() const {
    if (!transport && (reply.status == 0 || reply.status == 200)) return transport.error();
    return ErrorOf(reply);
  }
};

}  // namespace

template <class T>
class Reflector<T>::Impl {
 public:
  Impl(Client& client, ReflectorOptions options, Sink<T>& sink, const Clock& clock)
      : client_(client),
        options_(std::move(options)),
        sink_(sink),
        clock_(clock),
        random_(std::random_device()()),
        backoff_(options_.backoff_first, options_.backoff_max, clock, random_()),
        unreachable_(std::min(options_.backoff_first, options_.unreachable_max), options_.unreachable_max, clock, random_()),
        watch_list_(options_.watch_list),
        thread_([this](std::stop_token stop) { Run(std::move(stop)); }) {}

  void Stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  bool synced() const { return synced_; }

  bool WaitSynced(milliseconds timeout) const {
    MutexLock lock(mutex_);
    return synced_signal_.wait_for(mutex_, timeout, [this] { return synced_.load(); });
  }

  const ReflectorStats& stats() const { return stats_; }

  std::uint64_t ReadAgain() {
    MutexLock lock(mutex_);
    const auto number = ++reads_wanted_;
    watch_stop_.request_stop();
    stop_signal_.notify_all();
    return number;
  }

  bool HasRead(std::uint64_t number) const { return reads_done_ >= number; }

 private:
  void Run(std::stop_token stop) {
    stop_ = std::move(stop);
    while (!stop_.stop_requested()) {
      if (ReadIsWanted()) version_.clear();
      const auto ending = !version_.empty() ? Watch() : watch_list_ ? ReadStream() : ReadPages();
      if (ending.error && !stop_.stop_requested()) Recover(ending);
    }
  }

  void Recover(const Ending& ending) {
    // Before the patience is chosen: whoever asks from now on ends the wait.
    const auto wanted = reads_wanted_.load();
    ++stats_.errors;
    if (!ending.keep_version) version_.clear();
    const auto delay = std::max(Patience(ending), ending.at_least);
    log::warn("{}{}: {}; {} in {} ms", client_.server(), options_.path, ending.error->message,
              ending.keep_version ? "watching again" : "reading all again", delay.count());
    MutexLock lock(mutex_);
    stop_signal_.wait_for(mutex_, stop_, delay, [&] { return reads_wanted_ != wanted; });
  }

  milliseconds Patience(const Ending& ending) {
    if (ending.status == 410 && std::exchange(watched_, false)) return {};
    const auto backoff = ending.status == 0 ? unreachable_.Next() : backoff_.Next();
    return ReadIsWanted() ? std::min<milliseconds>(backoff, kLongestWaitForWanted) : backoff;
  }

  bool ReadIsWanted() const { return reads_wanted_ != reads_done_; }

  std::string Path(const std::string& query) const {
    return fmt::format("{}?{}{}{}", options_.path, options_.query, options_.query.empty() ? "" : "&", query);
  }

  // A GET whose body goes to `on_data` when the status is 200, else into the reply.
  Answer Fetch(const std::string& path, milliseconds idle, const std::function<bool(std::string_view)>& on_data) {
    return Fetch(path, idle, on_data, stop_);
  }
  Answer Fetch(const std::string& path, milliseconds idle, const std::function<bool(std::string_view)>& on_data, std::stop_token stop) {
    Answer answer;
    Client::Stream stream;
    stream.idle = idle;
    stream.on_status = [&](const Reply& head) {
      answer.reply = head;
      return true;
    };
    stream.on_data = [&](std::string_view piece) {
      if (answer.reply.status == 200) return on_data(piece);
      answer.reply.body += piece;
      return answer.reply.body.size() < kMaxErrorBody;
    };
    answer.transport = client_.GetStream(path, stream, std::move(stop));
    return answer;
  }

  // ---- Full read by pages ----

  struct PageText {
    Answer answer;
    std::string text;
  };

  PageText FetchPage(const std::string& token) {
    PageText page;
    const auto path = Path(fmt::format("limit={}{}{}", options_.page_size, token.empty() ? "" : "&continue=", Escape(token)));
    page.answer = Fetch(path, kListIdle, [&](std::string_view piece) {
      page.text += piece;
      return page.text.size() < kMaxPage;
    });
    return page;
  }

  Ending ReadPages() {
    BeginRead();
    ListPage page;
    std::string version;
    auto fetched = FetchPage({});
    for (;;) {
      if (const auto error = fetched.answer.error()) return ReadFailed(*error, fetched.answer.reply);
      if (stop_.stop_requested()) return {};
      if (fetched.text.size() >= kMaxPage) return Failed({Code::kInvalid, "a page is over 1 GiB; set a smaller page_size"});
      if (auto parsed = page.Parse(std::move(fetched.text)); !parsed) return Failed(parsed.error());
      if (version.empty()) version = page.version();
      // The next page travels while this one is decoded.
      std::future<PageText> next;
      if (!page.next().empty())
        next = std::async(std::launch::async, [this, token = std::string(page.next())] { return FetchPage(token); });
      page.ForEachItem([this](simdjson::dom::element item) { Put(item); });
      sink_.Flush();
      if (!next.valid()) break;
      fetched = next.get();
    }
    EndRead(std::move(version));
    return {};
  }

  // ---- Full read by a watch that begins with everything ----

  Ending ReadStream() {
    BeginRead();
    FrameReader frames;
    Ending ending;
    bool ignored = false;
    const auto on_frame = [&](const Frame& frame) {
      if (frame.type == "ERROR") return ending = FromErrorFrame(frame.object), false;
      if (frame.type == "ADDED" || frame.type == "MODIFIED") return PutOfMany(frame.object), true;
      if (frame.type != "BOOKMARK") return true;
      if (TextAt(frame.object, "/metadata/annotations/k8s.io~1initial-events-end") == "true") {
        EndRead(std::string(TextAt(frame.object, "/metadata/resourceVersion")));
      } else {
        ignored = true;  // the first bookmark of a server that knows the parameter is the one above
      }
      return false;
    };
    const auto answer = Fetch(WatchPath("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"), options_.watch_list_patience,
                              [&](std::string_view piece) { return Feed(frames, piece, on_frame, ending); });
    if (!version_.empty() || ending.error || stop_.stop_requested()) return ending;
    const bool refused = answer.reply.status == 400 || answer.reply.status == 422;
    const auto error = answer.error();
    if (error && answer.reply.status != 200 && !refused) return ReadFailed(*error, answer.reply);
    // Refused; or an old server: it ended without the last bookmark, sent another, or fell silent. Pages work everywhere.
    log::info("{}{}: {} sendInitialEvents; reading by pages from now on", client_.server(), options_.path,
              refused   ? "refuses"
              : ignored ? "ignores"
                        : "does not finish");
    watch_list_ = false;
    return {};
  }

  // ---- Watch ----

  std::string WatchPath(std::string_view rest) {
    const auto timeout = std::uniform_int_distribution<long>(300, 600)(random_);
    watch_idle_ = seconds(timeout) + kWatchGrace;
    return Path(fmt::format("watch=1&allowWatchBookmarks=true&timeoutSeconds={}{}", timeout, rest));
  }

  Ending Watch() {
    ++stats_.watches;
    const auto started = clock_.Now();
    FrameReader frames;
    Ending ending;
    bool quiet = true, saw_event = false;
    const auto on_frame = [&](const Frame& frame) {
      quiet = false;
      if (frame.type == "ERROR") return ending = FromErrorFrame(frame.object), false;
      saw_event = true;
      Apply(frame);
      return true;
    };
    const auto path = WatchPath("&resourceVersion=" + Escape(version_));
    const auto on_data = [&](std::string_view piece) {
      const bool more = Feed(frames, piece, on_frame, ending);
      sink_.Flush();
      return more;
    };
    const auto stop = NewWatchStop();
    const std::stop_callback with_us(stop_, [this] { StopWatch(); });
    const auto answer = Fetch(path, watch_idle_, on_data, stop);
    if (ReadIsWanted()) return {};
    const bool lasted = clock_.Now() - started >= kShortWatch;
    watched_ = watched_ || saw_event || (answer.reply.status == 200 && lasted);
    if (ending.error) return ending;
    if (answer.reply.status != 200) return WatchRefused(answer);
    if (quiet && !lasted) return Failed({Code::kUnknown, "the watch ended at once, without an event"});
    return {};
  }

  std::stop_token NewWatchStop() {
    MutexLock lock(mutex_);
    watch_stop_ = std::stop_source();
    if (ReadIsWanted()) watch_stop_.request_stop();
    return watch_stop_.get_token();
  }

  void StopWatch() {
    MutexLock lock(mutex_);
    watch_stop_.request_stop();
  }

  // A server that cannot be reached, or is too busy, has not forgotten our version: everything else needs a new read.
  Ending WatchRefused(const Answer& answer) {
    const auto error = answer.error().value_or(Error{Code::kUnknown, fmt::format("HTTP status {} for a watch", answer.reply.status)});
    if (answer.reply.status == 410) ++stats_.relists_410;
    return Failed(error, answer.reply, answer.reply.status == 0 || answer.reply.status == 429);
  }

  bool Feed(FrameReader& frames, std::string_view piece, const std::function<bool(const Frame&)>& on_frame, Ending& ending) {
    bool more = true;
    const auto fed = frames.Feed(piece, [&](const Frame& frame) { return more = on_frame(frame); });
    if (!fed) ending = Failed(fed.error());
    return fed && more && !stop_.stop_requested();
  }

  Ending FromErrorFrame(simdjson::dom::element status) {
    std::int64_t code = 0;
    if (status["code"].get(code) != simdjson::SUCCESS) code = 500;
    if (code == 410) ++stats_.relists_410;
    const Reply reply{static_cast<int>(code), simdjson::minify(status), {}};
    return Failed(ErrorOf(reply).value_or(Error{Code::kUnknown, "an ERROR event without an error"}), reply, code == 429);
  }

  void Apply(const Frame& frame) {
    const auto version = TextAt(frame.object, "/metadata/resourceVersion");
    if (frame.type == "ADDED" || frame.type == "MODIFIED") {
      ++stats_.events;
      Put(frame.object);
    } else if (frame.type == "DELETED") {
      ++stats_.events;
      Delete(frame.object);
    }
    if (!version.empty()) version_ = version;
  }

  // ---- To the sink ----

  void BeginRead() {
    ++stats_.lists;
    unflushed_ = 0;
    read_begun_ = reads_wanted_;
    sink_.ReplaceBegin();
  }

  void EndRead(std::string version) {
    version_ = std::move(version);
    sink_.ReplaceEnd();
    sink_.Flush();
    reads_done_ = read_begun_;
    MutexLock lock(mutex_);
    synced_ = true;
    synced_signal_.notify_all();
  }

  Ending ReadFailed(const Error& error, const Reply& reply) {
    if (reply.status == 410) ++stats_.relists_410;
    return Failed(error, reply);
  }

  void Put(simdjson::dom::element object) {
    auto decoded = DecodeAs(object, static_cast<const T*>(nullptr));
    if (decoded) {
      sink_.Upsert(*std::move(decoded));
    } else {
      ++stats_.undecodable;
      sink_.Undecodable(Identify<T>(object), decoded.error());
    }
  }

  // Frames of a read come a few at a time; what they add up to is published in portions like pages.
  void PutOfMany(simdjson::dom::element object) {
    Put(object);
    if (++unflushed_ < options_.page_size) return;
    unflushed_ = 0;
    sink_.Flush();
  }

  void Delete(simdjson::dom::element object) {
    auto decoded = DecodeAs(object, static_cast<const T*>(nullptr));
    if (!decoded) {
      // What is gone is gone, readable or not: its name is enough to forget it.
      ++stats_.undecodable;
      decoded = Identify<T>(object);
    }
    sink_.Remove(*std::move(decoded));
  }

  Client& client_;
  const ReflectorOptions options_;
  Sink<T>& sink_;
  const Clock& clock_;
  std::mt19937 random_;
  Backoff backoff_, unreachable_;
  bool watched_ = false;  // since the last read after a forgotten version, a watch was served
  bool watch_list_;
  int unflushed_ = 0;
  milliseconds watch_idle_{0};
  std::string version_;  // empty: a full read is needed
  std::stop_token stop_;
  ReflectorStats stats_;
  std::atomic<bool> synced_{false};
  std::atomic<std::uint64_t> reads_wanted_{0}, reads_done_{0};  // numbers of ReadAgain
  std::uint64_t read_begun_ = 0;                                // the number that the read in progress serves
  std::stop_source watch_stop_ PARTAGE_GUARDED_BY(mutex_);      // of the watch in progress
  mutable Mutex mutex_;
  mutable CondVar synced_signal_, stop_signal_;
  std::jthread thread_;  // last: it uses everything above
};

template <class T>
Reflector<T>::Reflector(Client& client, ReflectorOptions options, Sink<T>& sink, const Clock& clock)
    : impl_(std::make_unique<Impl>(client, std::move(options), sink, clock)) {}

template <class T>
Reflector<T>::~Reflector() {
  Stop();
}

template <class T>
bool Reflector<T>::synced() const {
  return impl_->synced();
}

template <class T>
bool Reflector<T>::WaitSynced(std::chrono::milliseconds timeout) const {
  return impl_->WaitSynced(timeout);
}

template <class T>
const ReflectorStats& Reflector<T>::stats() const {
  return impl_->stats();
}

template <class T>
std::uint64_t Reflector<T>::ReadAgain() {
  return impl_->ReadAgain();
}

template <class T>
bool Reflector<T>::HasRead(std::uint64_t number) const {
  return impl_->HasRead(number);
}

template <class T>
void Reflector<T>::Stop() {
  impl_->Stop();
}

template class Reflector<Pod>;
template class Reflector<Node>;
template class Reflector<ResourceQuota>;

}  // namespace partage::k8s
