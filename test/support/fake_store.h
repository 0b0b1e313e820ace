// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/mutex.h"
#include "base/result.h"

namespace partage::test {

/// The resources the fake API server keeps.
enum class Kind { kNodes, kPods, kQuotas };
inline constexpr std::size_t kKindCount = 3;

/// One version of one object, as compact as its text. Immutable.
struct StoredObject {
  std::uint64_t version = 0;
  std::string node;       ///< spec.nodeName
  bool finished = false;  ///< status.phase is Succeeded or Failed
  std::string rest;       ///< the document after `{"metadata":{"resourceVersion":"VERSION",`; apiVersion and kind are not kept

  /// Appends the JSON document; `type_meta` goes in front of its members, e.g. `"kind":"Pod","apiVersion":"v1",`.
  void AppendTo(std::string& out, std::string_view type_meta = {}) const;
  nlohmann::json ToJson() const;
};
using StoredRef = std::shared_ptr<const StoredObject>;

/// What a request selects. Empty members select everything.
struct Selector {
  std::string ns, name, node;
  bool unfinished = false;  ///< only what has not finished
  bool Matches(std::string_view key, const StoredObject* object) const;
};

/// Objects with versions, as etcd and the API server's watch cache keep them: one counter over all kinds, every change remembered for a while, reads of a
/// past version from the changes since. Thread-safe.
class FakeStore {
 public:
  explicit FakeStore(std::size_t history_limit) : history_limit_(history_limit) {}

  /// An object enters or is replaced, whatever was there. A text that starts with `{"metadata":{` and has a uid and no resourceVersion is
  /// kept as it is (about 1 µs); any other is rewritten. kInvalid when it is no JSON object with metadata.name.
  Result<StoredRef> Put(Kind kind, std::string_view json);
  /// kConflict when it exists.
  Result<StoredRef> Create(Kind kind, std::string_view json);
  /// Read, edit, write. kNotFound; or the edit's own error, and nothing is changed.
  Result<StoredRef> Update(Kind kind, const std::string& key, const std::function<Result<>(nlohmann::json&)>& edit);
  /// The last state, under the version of the deletion. kNotFound; or the check's own error.
  Result<StoredRef> Remove(Kind kind, const std::string& key, const std::function<Result<>(const StoredObject&)>& check = nullptr);
  StoredRef Get(Kind kind, const std::string& key) const;
  std::size_t Size(Kind kind) const;
  std::uint64_t version() const;

  struct Page {
    std::uint64_t version = 0;       ///< the state all pages of this list show
    std::vector<StoredRef> objects;  ///< by key
    std::string next;                ///< last key of this page; empty: the list is complete
  };
  /// Objects after the key `after`, as of `version` (0: now), at most `limit` (0: all). nullopt when that version is forgotten.
  std::optional<Page> List(Kind kind, const Selector& selector, std::uint64_t version, const std::string& after, std::size_t limit) const;

  struct Change {
    std::string_view type;  ///< "ADDED", "MODIFIED", "DELETED", as the selector sees it
    StoredRef object;
  };
  struct Changes {
    std::uint64_t version = 0;  ///< everything up to here has been seen
    std::vector<Change> changes;
  };
  /// The changes after `version`; waits for one up to `wait`. nullopt when that version is forgotten.
  std::optional<Changes> Since(Kind kind, const Selector& selector, std::uint64_t version, std::chrono::milliseconds wait) const;

  /// Forgets the past: every version before now is "too old".
  void Compact();

 private:
  struct Event {
    std::uint64_t version;
    std::string key;
    StoredRef before, after;  // before is null for a creation; a deletion's `after` carries its version
    bool deleted;
  };
  struct Table {
    std::map<std::string, StoredRef, std::less<>> objects;
    std::deque<Event> history;
    std::uint64_t forgotten = 0;  // versions below this cannot be read or watched from
  };

  Table& table(Kind kind) PARTAGE_REQUIRES(mutex_) { return tables_[static_cast<std::size_t>(kind)]; }
  const Table& table(Kind kind) const PARTAGE_REQUIRES(mutex_) { return tables_[static_cast<std::size_t>(kind)]; }
  StoredRef Commit(Kind kind, const std::string& key, std::shared_ptr<StoredObject> object) PARTAGE_REQUIRES(mutex_);
  void Remember(Table& table, Event event) PARTAGE_REQUIRES(mutex_);
  std::string NewUid();

  const std::size_t history_limit_;
  std::atomic<std::uint64_t> uids_{0};
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::uint64_t version_ PARTAGE_GUARDED_BY(mutex_) = 1;
  std::array<Table, kKindCount> tables_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::test
