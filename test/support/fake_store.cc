// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_store.h"

#include <algorithm>

#include <fmt/format.h>
#include <simdjson.h>

namespace partage::test {
namespace {

constexpr std::string_view kStart = R"({"metadata":{)";

std::string_view Text(simdjson::dom::element document, std::string_view pointer) {
  std::string_view value;
  return document.at_pointer(pointer).get(value) == simdjson::SUCCESS ? value : std::string_view();
}

// What the store must know of a document.
struct Parsed {
  std::string key;
  std::shared_ptr<StoredObject> object;
  bool in_store_form = false;  // can be kept as it is
};

Result<Parsed> Parse(std::string_view text) {
  static thread_local simdjson::dom::parser parser;
  simdjson::dom::element document;
  if (parser.parse(text.data(), text.size()).get(document) != simdjson::SUCCESS) return Fail(Code::kInvalid, "the body is not JSON");
  const auto name = Text(document, "/metadata/name");
  if (name.empty()) return Fail(Code::kInvalid, "metadata.name is missing");
  const auto ns = Text(document, "/metadata/namespace");
  auto object = std::make_shared<StoredObject>();
  object->node = Text(document, "/spec/nodeName");
  const auto phase = Text(document, "/status/phase");
  object->finished = phase == "Succeeded" || phase == "Failed";
  const bool has_version = document.at_pointer("/metadata/resourceVersion").error() == simdjson::SUCCESS;
  return Parsed{ns.empty() ? std::string(name) : fmt::format("{}/{}", ns, name), std::move(object),
                text.starts_with(kStart) && !has_version && !Text(document, "/metadata/uid").empty()};
}

std::string InStoreForm(nlohmann::json document, const std::string& uid) {
  document.erase("apiVersion");
  document.erase("kind");
  auto& metadata = document["metadata"];
  metadata.erase("resourceVersion");
  if (!metadata.contains("uid")) metadata["uid"] = uid;
  auto metadata_first = nlohmann::ordered_json{{"metadata", metadata}};
  for (auto& [name, value] : document.items()) metadata_first[name] = value;
  return metadata_first.dump();
}

Result<Parsed> Prepare(std::string_view json, const std::function<std::string()>& new_uid) {
  auto parsed = Parse(json);
  if (!parsed) return parsed;
  if (parsed->in_store_form) {
    parsed->object->rest.assign(json, kStart.size());
  } else {
    parsed->object->rest.assign(InStoreForm(nlohmann::json::parse(json), new_uid()), kStart.size());
  }
  return parsed;
}

}  // namespace

void StoredObject::AppendTo(std::string& out, std::string_view type_meta) const {
  fmt::format_to(std::back_inserter(out), R"({{{}"metadata":{{"resourceVersion":"{}",)", type_meta, version);
  out += rest;
}

nlohmann::json StoredObject::ToJson() const {
  std::string text;
  AppendTo(text);
  return nlohmann::json::parse(text);
}

bool Selector::Matches(std::string_view key, const StoredObject* object) const {
  if (object == nullptr) return false;
  const auto slash = key.find('/');
  const auto key_ns = slash == key.npos ? std::string_view() : key.substr(0, slash);
  const auto key_name = slash == key.npos ? key : key.substr(slash + 1);
  return (ns.empty() || ns == key_ns) && (name.empty() || name == key_name) && (node.empty() || node == object->node) &&
         !(unfinished && object->finished);
}

std::string FakeStore::NewUid() { return fmt::format("00000000-0000-4000-8000-{:012x}", ++uids_); }

Result<StoredRef> FakeStore::Put(Kind kind, std::string_view json) {
  auto parsed = Prepare(json, [this] { return NewUid(); });
  if (!parsed) return Fail(parsed.error());
  MutexLock lock(mutex_);
  return Commit(kind, parsed->key, std::move(parsed->object));
}

Result<StoredRef> FakeStore::Create(Kind kind, std::string_view json) {
  auto parsed = Prepare(json, [this] { return NewUid(); });
  if (!parsed) return Fail(parsed.error());
  MutexLock lock(mutex_);
  if (table(kind).objects.contains(parsed->key)) return Fail(Code::kConflict, "\"{}\" already exists", parsed->key);
  return Commit(kind, parsed->key, std::move(parsed->object));
}

Result<StoredRef> FakeStore::Update(Kind kind, const std::string& key, const std::function<Result<>(nlohmann::json&)>& edit) {
  MutexLock lock(mutex_);
  const auto found = table(kind).objects.find(key);
  if (found == table(kind).objects.end()) return Fail(Code::kNotFound, "\"{}\" not found", key);
  auto document = found->second->ToJson();
  if (auto edited = edit(document); !edited) return Fail(edited.error());
  auto parsed = Prepare(document.dump(), [this] { return NewUid(); });
  if (!parsed) return Fail(parsed.error());
  return Commit(kind, key, std::move(parsed->object));
}

Result<StoredRef> FakeStore::Remove(Kind kind, const std::string& key, const std::function<Result<>(const StoredObject&)>& check) {
  MutexLock lock(mutex_);
  auto& objects = table(kind).objects;
  const auto found = objects.find(key);
  if (found == objects.end()) return Fail(Code::kNotFound, "\"{}\" not found", key);
  if (check) {
    if (auto allowed = check(*found->second); !allowed) return Fail(allowed.error());
  }
  auto last = std::make_shared<StoredObject>(*found->second);
  last->version = ++version_;
  Remember(table(kind), {version_, key, found->second, last, true});
  objects.erase(found);
  changed_.notify_all();
  return StoredRef(last);
}

StoredRef FakeStore::Commit(Kind kind, const std::string& key, std::shared_ptr<StoredObject> object) {
  object->version = ++version_;
  auto& slot = table(kind).objects[key];
  Remember(table(kind), {version_, key, slot, object, false});
  slot = std::move(object);
  changed_.notify_all();
  return slot;
}

void FakeStore::Remember(Table& table, Event event) {
  table.history.push_back(std::move(event));
  if (table.history.size() > history_limit_) {
    table.forgotten = table.history.front().version;
    table.history.pop_front();
  }
}

StoredRef FakeStore::Get(Kind kind, const std::string& key) const {
  MutexLock lock(mutex_);
  const auto found = table(kind).objects.find(key);
  return found == table(kind).objects.end() ? nullptr : found->second;
}

std::size_t FakeStore::Size(Kind kind) const {
  MutexLock lock(mutex_);
  return table(kind).objects.size();
}

std::uint64_t FakeStore::version() const {
  MutexLock lock(mutex_);
  return version_;
}

std::optional<FakeStore::Page> FakeStore::List(Kind kind, const Selector& selector, std::uint64_t version, const std::string& after,
                                               std::size_t limit) const {
  MutexLock lock(mutex_);
  const auto& table = this->table(kind);
  if (version != 0 && version < table.forgotten) return std::nullopt;
  Page page{version == 0 ? version_ : version, {}, {}};
  // The past is the present with the changes since undone; walking backwards, the earliest change of a key has the last word.
  std::map<std::string_view, const StoredRef*> undone;
  for (auto event = table.history.rbegin(); event != table.history.rend() && event->version > page.version; ++event) {
    undone[event->key] = &event->before;
  }
  auto live = table.objects.upper_bound(after);
  auto past = undone.upper_bound(after);
  std::string_view last;
  while (live != table.objects.end() || past != undone.end()) {
    const bool from_past = past != undone.end() && (live == table.objects.end() || past->first <= live->first);
    const std::string_view key = from_past ? past->first : std::string_view(live->first);
    const StoredRef& object = from_past ? *past->second : live->second;
    if (selector.Matches(key, object.get())) {
      if (limit != 0 && page.objects.size() == limit) {
        page.next = last;
        break;
      }
      page.objects.push_back(object);
      last = key;
    }
    if (live != table.objects.end() && live->first == key) ++live;
    if (from_past) ++past;
  }
  return page;
}

std::optional<FakeStore::Changes> FakeStore::Since(Kind kind, const Selector& selector, std::uint64_t version,
                                                   std::chrono::milliseconds wait) const {
  MutexLock lock(mutex_);
  const auto& history = table(kind).history;
  changed_.wait_for(mutex_, wait, [&]() PARTAGE_REQUIRES(mutex_) { return !history.empty() && history.back().version > version; });
  if (version < table(kind).forgotten) return std::nullopt;
  Changes result{std::max(version, version_), {}};
  auto event = std::upper_bound(history.begin(), history.end(), version, [](std::uint64_t v, const Event& e) { return v < e.version; });
  for (; event != history.end(); ++event) {
    const bool before = selector.Matches(event->key, event->before.get());
    const bool after = !event->deleted && selector.Matches(event->key, event->after.get());
    if (before || after) result.changes.push_back({!after ? "DELETED" : before ? "MODIFIED" : "ADDED", event->after});
  }
  return result;
}

void FakeStore::Compact() {
  MutexLock lock(mutex_);
  ++version_;
  for (auto& table : tables_) {
    table.history.clear();
    table.forgotten = version_;
  }
  changed_.notify_all();
}

}  // namespace partage::test
