// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_api_server.h"

#include <algorithm>

#include "base/check.h"
#include "test/support/fake_api_wire.h"

namespace partage::test {
namespace {

using nlohmann::json;

std::vector<std::string> Split(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find('/', at + 1), path.size());
    parts.push_back(path.substr(at + 1, end - at - 1));
    at = end;
  }
  return parts;
}

Verb VerbOf(const HttpRequest& request, bool collection) {
  if (request.method == "GET") {
    return !collection ? Verb::kGet : IsTrue(QueryOf(request.query, "watch")) ? Verb::kWatch : Verb::kList;
  }
  if (request.method == "POST" && collection) return Verb::kCreate;
  if (request.method == "PATCH" && !collection) return Verb::kPatch;
  if (request.method == "DELETE" && !collection) return Verb::kDelete;
  return Verb::kOther;
}

std::optional<Kind> KindOf(std::string_view plural) {
  for (const Kind kind : {Kind::kNodes, Kind::kPods, Kind::kQuotas}) {
    if (WordsOf(kind).plural == plural) return kind;
  }
  return std::nullopt;
}

// api/v1/nodes[/N], api/v1[/namespaces/NS]/resourcequotas[/N], api/v1/pods, api/v1/namespaces/NS/pods[/N[/binding|/eviction|/status]], …/namespaces/NS/events
// of both groups.
ApiCall Route(const HttpRequest& request) {
  ApiCall call{Verb::kOther, Kind::kPods, {}, {}, request};
  auto parts = Split(request.path);
  const bool core = parts.size() >= 3 && parts[0] == "api" && parts[1] == "v1";
  const bool events_group = parts.size() >= 4 && parts[0] == "apis" && parts[1] == "events.k8s.io" && parts[2] == "v1";
  if (!core && !events_group) return call;
  parts.erase(parts.begin(), parts.begin() + (core ? 2 : 3));
  if (parts.size() >= 3 && parts[0] == "namespaces") {
    call.ns = parts[1];
    parts.erase(parts.begin(), parts.begin() + 2);
  }
  if (parts[0] == "events" && request.method == "POST" && !call.ns.empty()) call.verb = Verb::kEvent;
  const auto kind = KindOf(parts[0]);
  if (events_group || !kind) return call;
  call.kind = *kind;
  if (parts.size() >= 2) call.name = parts[1];
  if (parts.size() <= 2) call.verb = VerbOf(request, parts.size() == 1);
  if (parts.size() == 3 && parts[2] == "binding" && request.method == "POST") call.verb = Verb::kBind;
  if (parts.size() == 3 && parts[2] == "eviction" && request.method == "POST") call.verb = Verb::kEvict;
  if (parts.size() == 3 && parts[2] == "status") call.verb = VerbOf(request, false);
  return call;
}

void Merge(const json& from, const char* member, json& into) {
  if (from.contains(member) && from[member].is_object()) into[member].update(from[member]);
}

Result<> ApplyBinding(const json& binding, json& pod) {
  const json metadata = binding.value("metadata", json::object());
  if (auto met = CheckPreconditions(pod, metadata); !met) return met;
  const auto name = pod["metadata"]["name"].get<std::string>();
  auto& spec = pod["spec"];
  if (spec.contains("nodeName")) return Fail(Code::kConflict, "pod {} is already assigned to node {}", name, spec["nodeName"].dump());
  if (pod["metadata"].contains("deletionTimestamp"))
    return Fail(Code::kConflict, "pod {} is being deleted, cannot be assigned to a host", name);
  if (!spec.value("schedulingGates", json::array()).empty())
    return Fail(Code::kConflict, "pod {} has non-empty .spec.schedulingGates", name);
  spec["nodeName"] = binding["target"]["name"];
  Merge(metadata, "annotations", pod["metadata"]);
  Merge(metadata, "labels", pod["metadata"]);
  pod["status"]["conditions"].push_back({{"type", "PodScheduled"}, {"status", "True"}});
  pod["status"].erase("nominatedNodeName");
  return {};
}

}  // namespace

FakeApiServer::FakeApiServer(Options options)
    : options_(options),
      store_(options.history),
      listener_([this](const HttpRequest& request, HttpReply& reply) { Handle(request, reply); }) {
  if (options_.listens) Start();
}

FakeApiServer::~FakeApiServer() { Stop(); }

std::string FakeApiServer::url() const { return fmt::format("http://127.0.0.1:{}", port()); }

void FakeApiServer::Stop() { listener_.Stop(); }

void FakeApiServer::Start() { listener_.Start(); }

std::uint64_t FakeApiServer::Put(Kind kind, std::string_view json) {
  const auto stored = store_.Put(kind, json);
  PARTAGE_CHECK(stored.has_value(), "Put() needs a JSON object with metadata.name");
  return (*stored)->version;
}

bool FakeApiServer::Remove(Kind kind, const std::string& key) { return store_.Remove(kind, key).has_value(); }

bool FakeApiServer::Patch(Kind kind, const std::string& key, const json& patch) {
  return store_
      .Update(kind, key,
              [&](json& object) -> Result<> {
                object.merge_patch(patch);
                return {};
              })
      .has_value();
}

std::optional<json> FakeApiServer::Get(Kind kind, const std::string& key) const {
  const auto object = store_.Get(kind, key);
  if (!object) return std::nullopt;
  return object->ToJson();
}

void FakeApiServer::OnCall(std::function<Fault(const ApiCall&)> hook) {
  MutexLock lock(mutex_);
  hook_ = std::move(hook);
}

void FakeApiServer::RequireToken(std::string token) {
  MutexLock lock(mutex_);
  token_ = std::move(token);
}

void FakeApiServer::SetWatchFaults(const WatchFaults& faults) {
  MutexLock lock(mutex_);
  watch_faults_ = faults;
}

WatchFaults FakeApiServer::watch_faults() const {
  MutexLock lock(mutex_);
  return watch_faults_;
}

void FakeApiServer::FailWatches(int code) {
  watch_failure_code_ = code;
  ++watch_failures_;
}

std::uint64_t FakeApiServer::Calls(Verb verb, Kind kind) const {
  return calls_[static_cast<std::size_t>(verb)][static_cast<std::size_t>(kind)];
}

std::vector<json> FakeApiServer::Events() const {
  MutexLock lock(mutex_);
  return {events_.begin(), events_.end()};
}

bool FakeApiServer::Authorized(const HttpRequest& request) const {
  MutexLock lock(mutex_);
  return token_.empty() || request.authorization == "Bearer " + token_;
}

Fault FakeApiServer::FaultFor(const ApiCall& call) const {
  std::function<Fault(const ApiCall&)> hook;
  {
    MutexLock lock(mutex_);
    hook = hook_;
  }
  return hook ? hook(call) : Fault{};
}

void FakeApiServer::Handle(const HttpRequest& request, HttpReply& reply) {
  const auto call = Route(request);
  ++calls_[static_cast<std::size_t>(call.verb)][static_cast<std::size_t>(call.kind)];
  const auto fault = FaultFor(call);
  if (fault.latency.count() != 0 && !listener_.Sleep(fault.latency)) return reply.Drop();
  const auto write_latency = write_latency_.load();
  if (IsWrite(call.verb) && write_latency.count() != 0 && !listener_.Sleep(write_latency)) return reply.Drop();
  if (fault.close_before) return reply.Drop(fault.reset);
  if (fault.status != 0) {
    const auto header = fault.retry_after_s == 0 ? std::string() : fmt::format("Retry-After: {}\r\n", fault.retry_after_s);
    return reply.Send(fault.status, StatusBody(fault.status, "a fault on demand"), header);
  }
  if (!Authorized(request)) return reply.Send(401, StatusBody(401, "Unauthorized"));
  Execute(call, fault, reply);
}

void FakeApiServer::Execute(const ApiCall& call, const Fault& fault, HttpReply& reply) {
  if (call.verb == Verb::kWatch) return Watch(call, reply);
  const Answer answer = RunSafely(call);
  if (fault.close_after) return reply.Drop(fault.reset);
  if (fault.half_body) return reply.SendHalf(answer.status, answer.body, fault.reset);
  if (fault.reply_latency.count() != 0 && !listener_.Sleep(fault.reply_latency)) return reply.Drop();
  reply.Send(answer.status, answer.body, answer.headers);
}

FakeApiServer::Answer FakeApiServer::Call(std::string method, std::string path, std::string body) {
  return RunSafely(Route({.method = std::move(method),
                          .path = std::move(path),
                          .query = {},
                          .body = std::move(body),
                          .authorization = {},
                          .content_type = {}}));
}

FakeApiServer::Answer FakeApiServer::RunSafely(const ApiCall& call) try { return Run(call); } catch (const json::exception& wrong_shape) {
  return {400, StatusBody(400, wrong_shape.what())};
}

FakeApiServer::Answer FakeApiServer::Run(const ApiCall& call) {
  switch (call.verb) {
    case Verb::kGet: {
      const auto object = store_.Get(call.kind, call.Key());
      if (!object) return {404, StatusBody(404, fmt::format("{} \"{}\" not found", WordsOf(call.kind).plural, call.name))};
      Answer answer;
      object->AppendTo(answer.body, WordsOf(call.kind).type_meta);
      return answer;
    }
    case Verb::kList: return List(call);
    case Verb::kCreate: return Create(call);
    case Verb::kPatch: return MergePatch(call);
    case Verb::kDelete: return Delete(call);
    case Verb::kBind: return Bind(call);
    case Verb::kEvict: return Evict(call);
    case Verb::kEvent: return RecordEvent(call);
    default: return {404, StatusBody(404, "the server could not find the requested resource")};
  }
}

FakeApiServer::Answer FakeApiServer::List(const ApiCall& call) const {
  const auto& query = call.http.query;
  const auto token = QueryOf(query, "continue");
  // The token holds a '&' so that a client that does not escape it fails.
  const auto mark = token.find('&');
  auto limit = QueryOf(query, "resourceVersion") == "0" ? 0 : NumberOf(QueryOf(query, "limit"));
  if (options_.list_limit != 0 && (limit == 0 || limit > options_.list_limit)) limit = options_.list_limit;
  if (!token.empty() && mark == token.npos) return {400, StatusBody(400, "continue key is not valid")};
  const auto page =
      store_.List(call.kind, SelectorOf(query, call.ns), NumberOf(token), token.empty() ? token : token.substr(mark + 1), limit);
  if (!page) return {410, StatusBody(410, "The provided continue parameter is too old to display a consistent list result.")};
  Answer answer;
  json metadata = {{"resourceVersion", std::to_string(page->version)}};
  if (!page->next.empty()) metadata["continue"] = fmt::format("{}&{}", page->version, page->next);
  answer.body.reserve(page->objects.empty() ? 256 : page->objects.size() * (page->objects.front()->rest.size() + 128));
  answer.body = fmt::format(R"({{"kind":"{}","apiVersion":"v1","metadata":{},"items":[)", WordsOf(call.kind).list, metadata.dump());
  for (const auto& object : page->objects) {
    if (&object != &page->objects.front()) answer.body += ',';
    object->AppendTo(answer.body);
  }
  answer.body += "]}\n";
  return answer;
}

FakeApiServer::Answer FakeApiServer::Written(const Result<StoredRef>& result, Kind kind, int status) {
  if (!result) {
    const int failure = HttpStatus(result.error().code);
    return {failure, StatusBody(failure, fmt::format("{} {}", WordsOf(kind).plural, result.error().message))};
  }
  ++writes_;
  Answer answer{status, {}, {}};
  (*result)->AppendTo(answer.body, WordsOf(kind).type_meta);
  return answer;
}

FakeApiServer::Answer FakeApiServer::Create(const ApiCall& call) {
  auto object = json::parse(call.http.body);
  auto& metadata = object["metadata"];
  if (!call.ns.empty()) metadata["namespace"] = call.ns;
  if (!metadata.contains("name") && metadata.contains("generateName")) {
    metadata["name"] = fmt::format("{}{:05x}", metadata["generateName"].get<std::string>(), store_.version());
  }
  metadata.erase("uid");
  if (call.kind == Kind::kPods && !object.contains("status")) object["status"] = {{"phase", "Pending"}};
  return Written(store_.Create(call.kind, object.dump()), call.kind, 201);
}

FakeApiServer::Answer FakeApiServer::MergePatch(const ApiCall& call) {
  if (call.http.content_type != "application/merge-patch+json") {
    return {415, StatusBody(415, "the fake API server accepts only application/merge-patch+json")};
  }
  const auto patch = json::parse(call.http.body);
  const auto live = Get(call.kind, call.Key());
  const auto uid = patch.value("metadata", json::object()).value("uid", "");
  if (live && !uid.empty() && uid != (*live)["metadata"]["uid"]) return {422, StatusBody(422, "metadata.uid: field is immutable")};
  return Written(store_.Update(call.kind, call.Key(),
                               [&](json& object) -> Result<> {
                                 auto met = CheckPreconditions(object, patch.value("metadata", json::object()));
                                 if (met) object.merge_patch(patch);
                                 return met;
                               }),
                 call.kind, 200);
}

FakeApiServer::Answer FakeApiServer::Bind(const ApiCall& call) {
  const auto binding = json::parse(call.http.body);
  const auto target = binding.value("target", json::object());
  if (binding.value("metadata", json::object()).value("name", "") != call.name) {
    return {400, StatusBody(400, "name in URL does not match name in Binding object")};
  }
  if (target.value("name", "").empty() || target.value("kind", "Node") != "Node") {
    return {422, StatusBody(422, "Binding is invalid: target.name: Required value, target.kind: \"Node\"")};
  }
  const auto bound = Written(store_.Update(call.kind, call.Key(), [&](json& pod) { return ApplyBinding(binding, pod); }), call.kind, 201);
  if (bound.status != 201) return bound;
  return {201, R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201})"};
}

FakeApiServer::Answer FakeApiServer::RecordEvent(const ApiCall& call) {
  auto event = json::parse(call.http.body);
  MutexLock lock(mutex_);
  events_.push_back(std::move(event));
  if (events_.size() > 1000) events_.pop_front();
  return {201, call.http.body};
}

}  // namespace partage::test
