// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "k8s/api/binding.h"
#include "k8s/api/decode.h"
#include "k8s/api/eviction.h"
#include "k8s/client/client.h"
#include "scheduler/extender/cluster_api.h"
#include "test/support/fake_api_server.h"

namespace partage::test {

/// What a call meets on its way to the API server and back.
enum class Weather {
  kFine,
  kThrottled,    ///< 429: not executed
  kForbidden,    ///< 403: not executed
  kFailing,      ///< 500: not executed, and the caller cannot know
  kReplyLost,    ///< executed, and the caller cannot know
  kRequestLost,  ///< not executed, and the caller cannot know
  kHeldUp,       ///< the caller gives up on it; it is executed some time later, or never
};

/// The fake API server without sockets: calls are executed in the caller's thread, in the weather of the moment. Used by one thread.
class InProcessApi final : public scheduler::ClusterApi {
 public:
  explicit InProcessApi(FakeApiServer& server) : server_(server) {}

  /// For every call from now on, until told otherwise.
  void Set(Weather weather) { weather_ = weather; }

  Result<> WriteBinding(const k8s::Binding& binding) override { return Send(binding); }

  Result<k8s::Pod> GetPod(const std::string& ns, const std::string& name) override {
    if (const auto lost = NotExecuted(weather_)) return Fail(*lost);
    if (weather_ == Weather::kReplyLost) return Fail(Code::kUnknown, "connection reset");
    const auto answer = server_.Call("GET", "/api/v1/namespaces/" + ns + "/pods/" + name);
    if (const auto error = ErrorIn(answer)) return Fail(*error);
    return k8s::DecodePodText(answer.body);
  }

  Result<Evicted> Evict(const k8s::Eviction& eviction) override {
    if (on_eviction_) on_eviction_(eviction);
    return Send(eviction);
  }
  /// Called when an eviction is sent, whatever comes of it.
  void OnEviction(std::function<void(const k8s::Eviction&)> look) { on_eviction_ = std::move(look); }

  Result<> AnnotateNode(const std::string&, const std::string&, const std::string&) override { return {}; }

  std::size_t held_up() const { return held_up_.size(); }
  /// The oldest request that was held up arrives, or is lost for good.
  void Release(bool executed) {
    const auto request = held_up_.front();
    held_up_.erase(held_up_.begin());
    if (executed) request();
  }

 private:
  static std::optional<Error> NotExecuted(Weather weather) {
    switch (weather) {
      case Weather::kThrottled: return Error{Code::kUnavailable, "429 too many requests"};
      case Weather::kForbidden: return Error{Code::kInvalid, "403 forbidden"};
      case Weather::kFailing: return Error{Code::kUnknown, "500 internal error"};
      case Weather::kRequestLost:
      case Weather::kHeldUp: return Error{Code::kUnknown, "time-out"};
      default: return std::nullopt;
    }
  }
  static std::optional<Error> ErrorIn(const FakeApiServer::Answer& answer) {
    return k8s::ErrorOf({.status = answer.status, .body = answer.body});
  }
  Result<> Execute(const k8s::Binding& binding) {
    const std::string path = "/api/v1/namespaces/" + binding.ns + "/pods/" + binding.name + "/binding";
    if (const auto error = ErrorIn(server_.Call("POST", path, k8s::EncodeBinding(binding)))) return Fail(*error);
    return {};
  }

  Result<Evicted> Execute(const k8s::Eviction& eviction) {
    const std::string path = "/api/v1/namespaces/" + eviction.ns + "/pods/" + eviction.name + "/eviction";
    const auto answer = server_.Call("POST", path, k8s::EncodeEviction(eviction));
    if (answer.status == 404 || answer.status == 409) return Evicted::kGone;
    if (answer.status == 429) return Evicted::kProtected;  // the fake one throttles nobody by itself
    if (const auto error = ErrorIn(answer)) return Fail(*error);
    return Evicted::kYes;
  }

  /// A write, as the weather lets it through.
  template <class Write>
  auto Send(const Write& write) -> decltype(Execute(write)) {
    const Weather weather = weather_;
    if (weather == Weather::kHeldUp) held_up_.push_back([this, write] { (void)Execute(write); });
    if (const auto lost = NotExecuted(weather)) return Fail(*lost);
    auto answer = Execute(write);
    if (weather == Weather::kReplyLost) return Fail(Code::kUnknown, "connection reset");
    return answer;
  }

  FakeApiServer& server_;
  std::function<void(const k8s::Eviction&)> on_eviction_;
  Weather weather_ = Weather::kFine;
  std::vector<std::function<void()>> held_up_;
};

}  // namespace partage::test
