// SPDX-License-Identifier: Apache-2.0
// What the scheduler relies on in an API server. The fake one is held to it here, kube-apiserver by test/e2e/test_api_contract.py, which names its kubeconfig
// in PARTAGE_CONTRACT_KUBECONFIG: so that a fault found against the fake is one that could happen.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "k8s/client/client.h"
#include "test/support/fake_api_server.h"

namespace partage::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* kPods = "/api/v1/namespaces/default/pods";
constexpr const char* kBudgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
constexpr const char* kMergePatch = "application/merge-patch+json";
constexpr const char* kUnfinished = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";

class RealClock final : public Clock {
 public:
  Mono Now() const override { return std::chrono::steady_clock::now(); }
  Wall WallNow() const override { return std::chrono::system_clock::now(); }
};

/// An API server without pods: the real one where the environment names it, else a fake.
class Server {
 public:
  Server() {
    const char* kubeconfig = std::getenv("PARTAGE_CONTRACT_KUBECONFIG");
    k8s::ClientConfig config;
    if (kubeconfig != nullptr) {
      config = k8s::LoadKubeconfig(kubeconfig).value();
    } else {
      fake_.emplace();
      config.server = fake_->url();
    }
    client_ = k8s::Client::Make(config, clock_).value();
    Clear();
  }
  ~Server() { Clear(); }

  k8s::Client& client() { return *client_; }
  /// Makes versions of long ago forgotten. False where only an administrator of etcd can.
  bool ForgetThePast() {
    if (fake_) fake_->Compact();
    return fake_.has_value();
  }

  json Get(const std::string& path) { return Body(client_->Get(path), 200); }
  Result<k8s::Reply> PostPod(const std::string& name, const json& spec = json::object()) {
    json pod = {{"metadata", {{"name", name}}}, {"spec", {{"containers", {{{"name", "c"}, {"image", "none"}}}}}}};
    pod["spec"].update(spec);
    return client_->Post(kPods, pod.dump());
  }
  json CreatePod(const std::string& name, const json& spec = json::object()) { return Body(PostPod(name, spec), 201); }
  int Status(const Result<k8s::Reply>& reply) {
    REQUIRE(reply.has_value());
    INFO(reply->body);
    return reply->status;
  }
  int Bind(const std::string& name, json metadata = json::object(), const std::string& node = "n1") {
    metadata.emplace("name", name);
    const json binding = {
        {"apiVersion", "v1"}, {"kind", "Binding"}, {"metadata", metadata}, {"target", {{"kind", "Node"}, {"name", node}}}};
    return Status(client_->Post(fmt::format("{}/{}/binding", kPods, name), binding.dump()));
  }
  int Evict(const std::string& name, const json& options = json::object()) { return Status(TryEvict(name, options)); }
  Result<k8s::Reply> TryEvict(const std::string& name, const json& options = json::object()) {
    const json eviction = {{"apiVersion", "policy/v1"}, {"kind", "Eviction"}, {"metadata", {{"name", name}}}, {"deleteOptions", options}};
    return client_->Post(fmt::format("{}/{}/eviction", kPods, name), eviction.dump());
  }
  /// A pod that a kubelet runs, labelled app=a.
  json RunPod(const std::string& name) {
    CreatePod(name);
    REQUIRE(Bind(name, {{"labels", {{"app", "a"}}}}) == 201);
    return Body(client_->Patch(fmt::format("{}/{}/status", kPods, name), R"({"status":{"phase":"Running"}})", kMergePatch), 200);
  }
  bool Exists(const std::string& name) { return Status(client_->Get(fmt::format("{}/{}", kPods, name))) == 200; }
  /// Of the pods labelled app=a; nobody else sets what a real budget allows, as no controller runs.
  void Budget(int disruptions) {
    if (fake_) return fake_->SetBudget("a", disruptions);
    Unbudget();
    const json budget = {{"metadata", {{"name", "a"}}}, {"spec", {{"minAvailable", 1}, {"selector", {{"matchLabels", {{"app", "a"}}}}}}}};
    Body(client_->Post(kBudgets, budget.dump()), 201);
    const json status = {{"status",
                          {{"observedGeneration", 1},
                           {"disruptionsAllowed", disruptions},
                           {"currentHealthy", disruptions},
                           {"desiredHealthy", 0},
                           {"expectedPods", 1}}}};
    Body(client_->Patch(fmt::format("{}/a/status", kBudgets), status.dump(), kMergePatch), 200);
  }
  int Delete(const std::string& name) { return Status(client_->Delete(fmt::format("{}/{}?gracePeriodSeconds=0", kPods, name))); }

  static json Body(const Result<k8s::Reply>& reply, int status) {
    REQUIRE(reply.has_value());
    INFO(reply->body);
    REQUIRE(reply->status == status);
    return json::parse(reply->body);
  }

 private:
  void Clear() {
    const json pods = Get(kPods);
    for (const auto& pod : pods["items"]) Delete(pod["metadata"]["name"]);
    Unbudget();
  }
  void Unbudget() {
    if (fake_) return fake_->SetBudget("a", std::nullopt);
    (void)client_->Delete(fmt::format("{}/a", kBudgets));
  }

  RealClock clock_;
  std::optional<FakeApiServer> fake_;
  std::unique_ptr<k8s::Client> client_;
};

std::uint64_t VersionOf(const json& object) { return std::stoull(object["metadata"]["resourceVersion"].get<std::string>()); }

/// The frames of a watch until `enough` says so, or it ends, or ten seconds have passed.
std::vector<json> Watch(k8s::Client& client, const std::string& query, const std::function<bool(const std::vector<json>&)>& enough) {
  std::vector<json> frames;
  std::string pending;
  k8s::Client::Stream stream;
  stream.idle = 10s;
  stream.on_status = [&](const k8s::Reply& head) {
    if (head.status != 200) frames.push_back({{"type", "STATUS"}, {"object", {{"code", head.status}}}});
    return head.status == 200;
  };
  stream.on_data = [&](std::string_view piece) {
    pending += piece;
    for (auto end = pending.find('\n'); end != pending.npos; end = pending.find('\n')) {
      frames.push_back(json::parse(pending.substr(0, end)));
      pending.erase(0, end + 1);
    }
    return !enough(frames);
  };
  (void)client.GetStream(fmt::format("{}?watch=true&{}", kPods, query), stream, {});
  return frames;
}

std::vector<json> WatchFrom(Server& server, std::uint64_t version, std::size_t count, const std::string& query = "timeoutSeconds=5") {
  return Watch(server.client(), fmt::format("resourceVersion={}&{}", version, query),
               [&](const auto& frames) { return frames.size() >= count; });
}

std::string Line(const json& frame) {
  return fmt::format("{} {}", frame["type"].get<std::string>(), frame["object"]["metadata"].value("name", ""));
}

std::vector<std::string> Lines(const std::vector<json>& frames) {
  std::vector<std::string> lines;
  for (const auto& frame : frames) lines.push_back(Line(frame));
  return lines;
}

using Strings = std::vector<std::string>;

TEST_CASE("A created pod has a UID and a version, is pending, and there is one of its name") {
  Server server;
  const auto pod = server.CreatePod("a");
  CHECK(pod["metadata"]["uid"].get<std::string>().size() == 36);
  CHECK(pod["status"]["phase"] == "Pending");
  CHECK(VersionOf(pod) > 0);
  const auto read = server.Get(fmt::format("{}/a", kPods));
  CHECK(read["metadata"]["uid"] == pod["metadata"]["uid"]);
  CHECK(VersionOf(read) == VersionOf(pod));
  const auto again = server.client().Post(kPods, R"({"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  CHECK(server.Status(again) == 409);
  CHECK(k8s::ErrorOf(*again)->code == Code::kConflict);
}

TEST_CASE("What is not there is 404 for every verb") {
  Server server;
  CHECK(server.Status(server.client().Get(fmt::format("{}/gone", kPods))) == 404);
  CHECK(server.Status(server.client().Patch(fmt::format("{}/gone", kPods), "{}", kMergePatch)) == 404);
  CHECK(server.Bind("gone") == 404);
  CHECK(server.Delete("gone") == 404);
}

TEST_CASE("Versions grow with every write, and a list is as new as the newest write before it") {
  Server server;
  const auto first = VersionOf(server.CreatePod("a")), second = VersionOf(server.CreatePod("b"));
  CHECK(second > first);
  CHECK(VersionOf(server.Get(kPods)) >= second);
}

TEST_CASE("All pages of a list show the state of the first") {
  Server server;
  for (const auto* name : {"a", "b", "c", "d", "e"}) server.CreatePod(name);
  Strings names;
  std::set<std::uint64_t> versions;
  std::string next;
  do {
    const auto query = next.empty() ? "limit=2" : "limit=2&continue=" + next;
    const auto page = server.Get(fmt::format("{}?{}", kPods, query));
    for (const auto& pod : page["items"]) names.push_back(pod["metadata"]["name"]);
    versions.insert(VersionOf(page));
    if (next.empty()) server.CreatePod("later"), server.Delete("e");
    next = page["metadata"].value("continue", "");
    if (const auto amp = next.find('&'); amp != next.npos) next.replace(amp, 1, "%26");
  } while (!next.empty());
  CHECK(names == Strings{"a", "b", "c", "d", "e"});
  CHECK(versions.size() == 1);
}

TEST_CASE("A watch from a version tells every later change once, in order, with growing versions") {
  Server server;
  const auto version = VersionOf(server.CreatePod("before"));
  server.CreatePod("a");
  server.Bind("a");
  server.CreatePod("b");
  const auto frames = WatchFrom(server, version, 3);
  CHECK(Lines(frames) == Strings{"ADDED a", "MODIFIED a", "ADDED b"});
  for (std::size_t i = 1; i < frames.size(); ++i) CHECK(VersionOf(frames[i]["object"]) > VersionOf(frames[i - 1]["object"]));
}

TEST_CASE("A pod that leaves the watched set is told as deleted") {
  Server server;
  const auto pod = server.CreatePod("a");
  server.CreatePod("b");
  CHECK(server.Status(server.client().Patch(fmt::format("{}/a/status", kPods), R"({"status":{"phase":"Succeeded"}})", kMergePatch)) == 200);
  const auto frames = WatchFrom(server, VersionOf(pod), 2, fmt::format("{}&timeoutSeconds=5", kUnfinished));
  CHECK(Lines(frames) == Strings{"ADDED b", "DELETED a"});
  const auto left = server.Get(fmt::format("{}?{}", kPods, kUnfinished))["items"];
  REQUIRE(left.size() == 1);
  CHECK(left[0]["metadata"]["name"] == "b");
}

TEST_CASE("A streaming list tells what is there, then marks its end, then what changes") {
  Server server;
  server.CreatePod("a");
  server.CreatePod("b");
  // Not with CreatePod, whose assertions belong to the test's own thread.
  std::jthread later;
  const auto marked = [&](const std::vector<json>& frames) {
    if (frames.back()["type"] == "BOOKMARK" && !later.joinable()) later = std::jthread([&] { (void)server.PostPod("c"); });
    return frames.size() >= 4;
  };
  const auto frames =
      Watch(server.client(), "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=8", marked);
  REQUIRE(frames.size() >= 4);
  CHECK(std::set<std::string>{Line(frames[0]), Line(frames[1])} == std::set<std::string>{"ADDED a", "ADDED b"});
  CHECK(frames[2]["type"] == "BOOKMARK");
  CHECK(frames[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true");
  CHECK(VersionOf(frames[2]["object"]) >= VersionOf(frames[1]["object"]));
  CHECK(Line(frames[3]) == "ADDED c");
}

TEST_CASE("A watch from a version long forgotten ends with 410") {
  Server server;
  server.CreatePod("a");
  if (!server.ForgetThePast()) return;
  const auto frames = WatchFrom(server, 1, 1);
  REQUIRE(frames.size() == 1);
  CHECK((frames[0]["type"] == "ERROR" || frames[0]["type"] == "STATUS"));
  CHECK(frames[0]["object"]["code"] == 410);
}

TEST_CASE("A watch ends by itself, without an error, when its time is up") {
  Server server;
  const auto version = VersionOf(server.CreatePod("a"));
  const auto began = std::chrono::steady_clock::now();
  const auto frames = WatchFrom(server, version, 1, "timeoutSeconds=1");
  CHECK(frames.empty());
  CHECK(std::chrono::steady_clock::now() - began < 5s);
}

TEST_CASE("A binding sets the node and merges its annotations in one write") {
  Server server;
  const auto pod = server.CreatePod("a");
  CHECK(server.Bind("a", {{"uid", pod["metadata"]["uid"]}, {"annotations", {{"partage.dev/allocation", "x"}}}}) == 201);
  server.CreatePod("end");
  const auto frames = WatchFrom(server, VersionOf(pod), 2);
  REQUIRE(Lines(frames) == Strings{"MODIFIED a", "ADDED end"});
  const auto& bound = frames[0]["object"];
  CHECK(bound["spec"]["nodeName"] == "n1");
  CHECK(bound["metadata"]["annotations"]["partage.dev/allocation"] == "x");
  CHECK(bound["metadata"]["uid"] == pod["metadata"]["uid"]);
}

TEST_CASE("A pod is bound once: later bindings are conflicts and change nothing") {
  Server server;
  server.CreatePod("a");
  CHECK(server.Bind("a", {{"annotations", {{"k/v", "first"}}}}) == 201);
  const auto bound = server.Get(fmt::format("{}/a", kPods));
  CHECK(server.Bind("a", {{"annotations", {{"k/v", "second"}}}}) == 409);
  CHECK(server.Bind("a", {{"annotations", {{"k/v", "second"}}}}, "n2") == 409);
  CHECK(server.Get(fmt::format("{}/a", kPods)) == bound);
}

TEST_CASE("A binding whose precondition does not hold is a conflict and changes nothing") {
  Server server;
  const auto pod = server.CreatePod("a");
  CHECK(server.Bind("a", {{"uid", "00000000-0000-4000-8000-00000000dead"}}) == 409);
  CHECK(server.Bind("a", {{"resourceVersion", "1"}}) == 409);
  CHECK(server.Get(fmt::format("{}/a", kPods)) == server.Get(fmt::format("{}/a", kPods)));
  CHECK_FALSE(server.Get(fmt::format("{}/a", kPods))["spec"].contains("nodeName"));
  CHECK(server.Bind("a", {{"uid", pod["metadata"]["uid"]}, {"resourceVersion", pod["metadata"]["resourceVersion"]}}) == 201);
}

TEST_CASE("A pod with scheduling gates cannot be bound") {
  Server server;
  server.CreatePod("a", {{"schedulingGates", {{{"name", "partage.dev/wait"}}}}});
  CHECK(server.Bind("a") == 409);
  CHECK_FALSE(server.Get(fmt::format("{}/a", kPods))["spec"].contains("nodeName"));
}

TEST_CASE("A binding that names another pod than its path does is malformed") {
  Server server;
  server.CreatePod("a");
  CHECK(server.Bind("a", {{"name", "b"}}) == 400);
  CHECK(server.Bind("a", {{"name", ""}}) == 400);
  CHECK_FALSE(server.Get(fmt::format("{}/a", kPods))["spec"].contains("nodeName"));
}

TEST_CASE("A binding without a node is refused") {
  Server server;
  server.CreatePod("a");
  CHECK(server.Bind("a", json::object(), "") >= 400);
  CHECK_FALSE(server.Get(fmt::format("{}/a", kPods))["spec"].contains("nodeName"));
}

TEST_CASE("A patch with a stale version is a conflict, without one it is applied") {
  Server server;
  const auto pod = server.CreatePod("a");
  const auto path = fmt::format("{}/a", kPods);
  const auto patch = [&](const json& metadata) {
    return server.Status(server.client().Patch(path, json{{"metadata", metadata}}.dump(), kMergePatch));
  };
  CHECK(patch({{"annotations", {{"k/v", "1"}}}}) == 200);
  CHECK(patch({{"annotations", {{"k/v", "2"}}}, {"resourceVersion", pod["metadata"]["resourceVersion"]}}) == 409);
  CHECK(patch({{"annotations", {{"k/v", "3"}}}, {"uid", "00000000-0000-4000-8000-00000000dead"}}) == 422);
  CHECK(server.Get(path)["metadata"]["annotations"]["k/v"] == "1");
}

TEST_CASE("A pod that runs is deleted gracefully, and without grace, or where none runs, it is gone at once") {
  Server server;
  server.RunPod("a");
  server.CreatePod("b");
  for (const auto* name : {"a", "b"}) CHECK(server.Status(server.client().Delete(fmt::format("{}/{}", kPods, name))) == 200);
  CHECK_FALSE(server.Exists("b"));
  const auto leaving = server.Get(fmt::format("{}/a", kPods));
  CHECK(leaving["metadata"].contains("deletionTimestamp"));
  CHECK(leaving["metadata"]["deletionGracePeriodSeconds"] == 30);
  CHECK(leaving["spec"]["nodeName"] == "n1");
  CHECK(server.Delete("a") == 200);
  CHECK_FALSE(server.Exists("a"));
}

TEST_CASE("An evicted pod that runs is told to leave, and leaves when its kubelet says so") {
  Server server;
  const auto pod = server.RunPod("a");
  CHECK(server.Evict("a", {{"preconditions", {{"uid", pod["metadata"]["uid"]}}}}) == 201);
  const auto leaving = server.Get(fmt::format("{}/a", kPods));
  CHECK(leaving["metadata"].contains("deletionTimestamp"));
  CHECK(leaving["metadata"]["uid"] == pod["metadata"]["uid"]);
  CHECK(leaving["status"]["phase"] == "Running");
  const auto& conditions = leaving["status"]["conditions"];
  CHECK(std::any_of(conditions.begin(), conditions.end(), [](const json& each) { return each["type"] == "DisruptionTarget"; }));
  server.CreatePod("end");
  const auto frames = WatchFrom(server, VersionOf(pod), 3, "timeoutSeconds=2");
  REQUIRE(frames.size() >= 2);
  CHECK(Line(frames.front()) == "MODIFIED a");
  CHECK(Line(frames.back()) == "ADDED end");
  CHECK(server.Evict("a") == 201);
  CHECK(server.Delete("a") == 200);
  CHECK(server.Evict("a") == 404);
}

TEST_CASE("An evicted pod that runs nowhere is gone at once") {
  Server server;
  server.CreatePod("a");
  CHECK(server.Evict("a") == 201);
  CHECK_FALSE(server.Exists("a"));
  CHECK(server.Evict("a") == 404);
}

TEST_CASE("An eviction that is a dry run changes nothing") {
  Server server;
  const auto pod = server.RunPod("a");
  const json dry = {{"dryRun", {"All"}}};
  server.Budget(1);
  for (int i = 0; i < 2; ++i) CHECK(server.Evict("a", dry) == 201);
  CHECK(server.Get(fmt::format("{}/a", kPods)) == pod);
  server.Budget(0);
  CHECK(server.Evict("a", dry) == 429);
  CHECK(server.Evict("gone", dry) == 404);
}

TEST_CASE(
    "An eviction of another pod than the named one is a conflict and does nothing to it, though its budget is asked first, and spent") {
  Server server;
  server.RunPod("a");
  const json other = {{"preconditions", {{"uid", "00000000-0000-4000-8000-00000000dead"}}}};
  auto dry = other;
  dry["dryRun"] = {"All"};
  for (const auto& options : {dry, other}) CHECK(server.Evict("a", options) == 409);
  CHECK_FALSE(server.Get(fmt::format("{}/a", kPods))["metadata"].contains("deletionTimestamp"));
  server.Budget(1);
  for (const auto& options : {dry, other}) CHECK(server.Evict("a", options) == 409);
  CHECK(server.Evict("a", other) == 429);
  CHECK(server.Evict("a") == 429);
}

TEST_CASE("A disruption budget refuses evictions, says that it was it, and counts those it allows") {
  Server server;
  for (const auto* name : {"a", "b"}) server.RunPod(name);
  server.Budget(1);
  CHECK(server.Evict("a") == 201);
  const auto refused = server.TryEvict("b");
  REQUIRE(server.Status(refused) == 429);
  CHECK(json::parse(refused->body)["details"]["causes"][0]["reason"] == "DisruptionBudget");
  CHECK_FALSE(server.Get(fmt::format("{}/b", kPods))["metadata"].contains("deletionTimestamp"));
  // One that is leaving already asks no budget.
  CHECK(server.Evict("a") == 201);
  server.Budget(1);
  CHECK(server.Evict("b") == 201);
}

TEST_CASE("A disruption budget has no say in pods that do not run") {
  Server server;
  server.CreatePod("a");
  REQUIRE(server.Bind("a", {{"labels", {{"app", "a"}}}}) == 201);
  server.Budget(0);
  CHECK(server.Evict("a") == 201);
}

TEST_CASE("An eviction that names another pod than its path does is malformed") {
  Server server;
  server.RunPod("a");
  const auto path = fmt::format("{}/a/eviction", kPods);
  CHECK(server.Status(server.client().Post(path, R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"b"}})")) == 400);
  CHECK_FALSE(server.Get(fmt::format("{}/a", kPods))["metadata"].contains("deletionTimestamp"));
}

TEST_CASE("A body that is not JSON is refused") {
  Server server;
  CHECK(server.Status(server.client().Post(kPods, "{")) == 400);
}

}  // namespace
}  // namespace partage::test
