// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/cluster_api.h"

#include <algorithm>
#include <atomic>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "k8s/api/decode.h"
#include "scheduler/extender/promise.h"

namespace partage::scheduler {
namespace {

constexpr std::size_t kLongestName = 253;

bool IsAlphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// Names come from request bodies and go into paths: only what Kubernetes itself accepts as a name does.
Result<> CheckName(std::string_view what, std::string_view name) {
  const bool sound = !name.empty() && name.size() <= kLongestName && IsAlphanumeric(name.front()) && IsAlphanumeric(name.back()) &&
                     std::all_of(name.begin(), name.end(), [](char c) { return IsAlphanumeric(c) || c == '-' || c == '.'; });
  if (sound) return {};
  return Fail(Code::kInvalid, "{} \"{}\" is not a Kubernetes name (a-z, 0-9, '-', '.')", what, name.substr(0, kLongestName));
}

// A budget answers with the status of a throttled call, and one cause more.
bool NamesBudget(const std::string& status) {
  const auto document = nlohmann::json::parse(status, nullptr, false);
  const auto causes = nlohmann::json::json_pointer("/details/causes");
  if (!document.is_object() || !document.contains(causes) || !document[causes].is_array()) return false;
  return std::any_of(document[causes].begin(), document[causes].end(),
                     [](const auto& cause) { return cause.is_object() && cause.value("reason", nlohmann::json()) == "DisruptionBudget"; });
}

class KubeClusterApi final : public ClusterApi {
 public:
  explicit KubeClusterApi(k8s::Client& client) : client_(client) {}

  Result<> WriteBinding(const k8s::Binding& binding) override {
    auto path = PodPath(binding.ns, binding.name);
    if (!path) return Fail(path.error());
    if (auto node = CheckName("node", binding.node); !node) return node;
    *path += "/binding";
    auto reply = Done(client_.PostBy(binding.send_by, *path, k8s::EncodeBinding(binding)), "POST", *path);
    return reply ? Result<>{} : Fail(reply.error());
  }

  Result<k8s::Pod> GetPod(const std::string& ns, const std::string& name) override {
    const auto path = PodPath(ns, name);
    if (!path) return Fail(path.error());
    const auto reply = Done(client_.Get(*path), "GET", *path);
    if (!reply) return Fail(reply.error());
    auto pod = k8s::DecodePodText(reply->body);
    return pod ? pod : Fail(pod.error(), fmt::format("GET {}", *path));
  }

  Result<Evicted> Evict(const k8s::Eviction& eviction) override {
    auto path = PodPath(eviction.ns, eviction.name);
    if (!path) return Fail(path.error());
    *path += "/eviction";
    const auto reply = client_.PostBy(eviction.send_by, *path, k8s::EncodeEviction(eviction));
    if (reply && (reply->status == 404 || reply->status == 409)) return Evicted::kGone;
    if (reply && reply->status == 429 && NamesBudget(reply->body)) return Evicted::kProtected;
    const auto done = Done(reply, "POST", *path);
    return done ? Result<Evicted>(Evicted::kYes) : Fail(done.error());
  }

  Result<> Nominate(const k8s::Nomination& nomination) override {
    auto path = PodPath(nomination.ns, nomination.name);
    if (!path) return Fail(path.error());
    *path += "/status";
    auto patch = nlohmann::json::parse(k8s::EncodeNomination(nomination));
    patch["metadata"]["annotations"][kPromiseAnnotation.data()] = patch["status"]["nominatedNodeName"];
    auto reply = Done(client_.Patch(*path, patch.dump(), "application/merge-patch+json"), "PATCH", *path);
    return reply ? Result<>{} : Fail(reply.error());
  }

  Result<> AnnotateNode(const std::string& node, const std::string& key, const std::string& value) override {
    if (auto name = CheckName("node", node); !name) return name;
    const std::string path = "/api/v1/nodes/" + node;
    const nlohmann::json patch = {{"metadata", {{"annotations", {{key, value}}}}}};
    constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
    auto reply = Done(client_.Patch(path, patch.dump(-1, ' ', false, kReplace), "application/merge-patch+json"), "PATCH", path);
    return reply ? Result<>{} : Fail(reply.error());
  }

  Result<> WriteEvent(const k8s::Event& event) override {
    if (auto sound = CheckName("namespace", event.ns); !sound) return sound;
    if (auto sound = CheckName("event", event.name); !sound) return sound;
    const std::string events = fmt::format("/api/v1/namespaces/{}/events", event.ns);
    const std::string one = fmt::format("{}/{}", events, event.name);
    auto reply = event.created ? Done(client_.Patch(one, k8s::EncodeEventRepeated(event), "application/merge-patch+json"), "PATCH", one)
                               : Done(client_.Post(events, k8s::EncodeEvent(event)), "POST", events);
    return reply ? Result<>{} : Fail(reply.error());
  }

  std::chrono::milliseconds retry_after() const override {
    return std::chrono::milliseconds(retry_after_ms_.load(std::memory_order_relaxed));
  }

 private:
  static Result<std::string> PodPath(const std::string& ns, const std::string& name) {
    if (auto sound = CheckName("namespace", ns); !sound) return Fail(sound.error());
    if (auto sound = CheckName("pod", name); !sound) return Fail(sound.error());
    return fmt::format("/api/v1/namespaces/{}/pods/{}", ns, name);
  }

  // The reply when it is a 2xx, else what went wrong in which call.
  Result<k8s::Reply> Done(Result<k8s::Reply> reply, std::string_view method, const std::string& path) {
    const std::string call = fmt::format("{} {}", method, path);
    if (!reply) return Fail(reply.error(), call);
    retry_after_ms_.store(reply->status == 429 ? reply->retry_after.count() : 0, std::memory_order_relaxed);
    if (const auto error = k8s::ErrorOf(*reply)) return Fail(*error, call);
    return reply;
  }

  k8s::Client& client_;
  std::atomic<std::chrono::milliseconds::rep> retry_after_ms_{0};
};

}  // namespace

std::unique_ptr<ClusterApi> MakeKubeClusterApi(k8s::Client& client) { return std::make_unique<KubeClusterApi>(client); }

}  // namespace partage::scheduler
