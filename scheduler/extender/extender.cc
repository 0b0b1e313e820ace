// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/extender.h"

#include <atomic>
#include <chrono>
#include <map>

#include "base/log.h"
#include "metrics/catalog.h"
#include "scheduler/extender/pod_request.h"
#include "scheduler/extender/wire.h"

namespace partage::scheduler {
namespace {

using std::chrono::steady_clock;

constexpr std::string_view kNotReady =
    "partage-scheduler is not ready: it has not yet read all nodes and pods, or another replica is the active one; try again in a moment";

// Such an answer ends its connection: behind a Service the next one may lead to the replica that is active.
constexpr std::string_view kNotReadyOutcome = "not_ready";

// One decoder a server thread: it keeps its buffers, and what it decodes is used before the thread takes its next request.
ArgsDecoder& ThreadDecoder() {
  thread_local ArgsDecoder decoder;
  return decoder;
}

class Stopwatch {
 public:
  double Seconds() const { return std::chrono::duration<double>(steady_clock::now() - start_).count(); }

 private:
  steady_clock::time_point start_ = steady_clock::now();
};

// One histogram an outcome, resolved once.
class OutcomeTimes {
 public:
  OutcomeTimes(metrics::Registry& registry, const metrics::Desc& desc, std::initializer_list<std::string_view> outcomes) {
    for (const std::string_view outcome : outcomes) times_.emplace(outcome, registry.GetHistogram(desc, {std::string(outcome)}));
  }
  void Observe(std::string_view outcome, double seconds) const { times_.at(outcome).Observe(seconds); }

 private:
  std::map<std::string_view, metrics::Registry::Histogram> times_;
};

http::Response Json(std::string body) { return {.status = 200, .body = std::move(body), .content_type = "application/json"}; }

std::string_view OutcomeOf(const PodInput& pod, const FilterOutcome& outcome) {
  if (!pod.request) return "invalid";
  return outcome.fitting.empty() ? "refused" : "fit";
}

}  // namespace

class Extender::Impl {
 public:
  Impl(Engine& engine, Binder& binder, const vendors::Catalog& vendors, metrics::Registry& registry)
      : engine_(engine),
        binder_(binder),
        requests_(vendors),
        filter_times_(registry, metrics::kFilterSeconds, {"fit", "refused", "invalid", "not_ours", kNotReadyOutcome}),
        prioritize_time_(registry.GetHistogram(metrics::kPrioritizeSeconds)),
        bind_times_(registry, metrics::kBindSeconds,
                    {"bound", kNotReadyOutcome, "invalid", "not_found", "conflict", "unavailable", "unknown", "internal"}),
        bad_filters_(registry.GetCounter(metrics::kRequestErrors, {"/filter"})),
        bad_prioritizes_(registry.GetCounter(metrics::kRequestErrors, {"/prioritize"})),
        bad_binds_(registry.GetCounter(metrics::kRequestErrors, {"/bind"})) {}

  http::Response Filter(const http::Request& request, bool ready) {
    const Stopwatch watch;
    const auto args = ThreadDecoder().Decode(request.body, engine_.cluster().snapshot()->index);
    if (!args) return Malformed(args.error(), bad_filters_);
    if ((*args)->whole_nodes) SayWholeNodesAreSlow();
    std::string_view outcome;
    http::Response response = Json(FilterReply(**args, ready, outcome));
    filter_times_.Observe(outcome, watch.Seconds());
    response.close = outcome == kNotReadyOutcome;
    return response;
  }

  http::Response Prioritize(const http::Request& request, bool ready) {
    const Stopwatch watch;
    const auto args = ThreadDecoder().Decode(request.body, engine_.cluster().snapshot()->index);
    if (!args) return Malformed(args.error(), bad_prioritizes_);
    http::Response response = Json(PrioritizeReply(**args, ready));
    prioritize_time_.Observe(watch.Seconds());
    return response;
  }

  void Bind(const http::Request& request, bool ready, http::Respond respond) {
    const Stopwatch watch;
    auto args = DecodeBindArgs(request.body);
    if (!args) return respond(Malformed(args.error(), bad_binds_));
    if (!ready) {
      bind_times_.Observe(kNotReadyOutcome, watch.Seconds());
      http::Response response = Json(EncodeBindResult(kNotReady));
      response.close = true;
      return respond(std::move(response));
    }
    binder_.Bind(std::move(args->pod), std::move(args->node), [this, watch, respond = std::move(respond)](const Result<>& bound) {
      bind_times_.Observe(bound ? "bound" : ToString(bound.error().code), watch.Seconds());
      respond(Json(EncodeBindResult(bound ? std::string_view{} : bound.error().message)));
    });
  }

 private:
  static http::Response Malformed(const Error& error, const metrics::Registry::Counter& count) {
    count.Inc();
    return {.status = 400, .body = EncodeMalformed(error.message), .content_type = "application/json"};
  }

  std::string FilterReply(const ExtenderArgs& args, bool ready, std::string_view& outcome) {
    const PodInput pod = InputOf(args.pod);
    if (NotOurs(pod)) {
      outcome = "not_ours";
      return EncodeAllPass(args);
    }
    if (!ready) {
      outcome = kNotReadyOutcome;
      return EncodeFilterError(kNotReady);
    }
    const FilterOutcome filtered = engine_.Filter(pod, args.candidates());
    outcome = OutcomeOf(pod, filtered);
    return EncodeFilterResult(args, filtered);
  }

  std::string PrioritizeReply(const ExtenderArgs& args, bool ready) {
    const PodInput pod = InputOf(args.pod);
    if (!ready || NotOurs(pod)) return EncodePriorities({}, {});
    return EncodePriorities(args.names, engine_.Prioritize(pod, args.candidates()));
  }

  PodInput InputOf(const k8s::Pod& pod) const { return {RefOf(pod), requests_.Of(pod), pod.has_soft_preferences, pod.never_preempts}; }

  static bool NotOurs(const PodInput& pod) { return pod.request && *pod.request == nullptr; }

  void SayWholeNodesAreSlow() {
    if (!told_.exchange(true)) {
      log::warn(
          "kube-scheduler sends whole Node objects, which costs it and us many times more than names: set nodeCacheCapable: true on this "
          "extender");
    }
  }

  Engine& engine_;
  Binder& binder_;
  const PodRequests requests_;
  const OutcomeTimes filter_times_;
  const metrics::Registry::Histogram prioritize_time_;
  const OutcomeTimes bind_times_;
  const metrics::Registry::Counter bad_filters_, bad_prioritizes_, bad_binds_;
  std::atomic<bool> told_ = false;
};

Extender::Extender(Engine& engine, Binder& binder, const vendors::Catalog& vendors, metrics::Registry& registry)
    : impl_(std::make_unique<Impl>(engine, binder, vendors, registry)) {}
Extender::~Extender() = default;

Extender::Handlers Extender::MakeHandlers(std::function<bool()> ready) {
  Impl* impl = impl_.get();
  return {
      .filter = [impl, ready](const http::Request& request, const http::Respond& respond) { respond(impl->Filter(request, ready())); },
      .prioritize = [impl, ready](const http::Request& request,
                                  const http::Respond& respond) { respond(impl->Prioritize(request, ready())); },
      .bind = [impl, ready](const http::Request& request, http::Respond respond) { impl->Bind(request, ready(), std::move(respond)); },
  };
}

void Extender::AddRoutes(http::Server& server, const std::string& prefix, std::function<bool()> ready) {
  Handlers handlers = MakeHandlers(std::move(ready));
  server.Route("POST", prefix + "/filter", std::move(handlers.filter));
  server.Route("POST", prefix + "/prioritize", std::move(handlers.prioritize));
  server.Route("POST", prefix + "/bind", std::move(handlers.bind));
}

}  // namespace partage::scheduler
