// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/extender.h"

#include <future>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "scheduler/extender/metrics_probe.h"
#include "test/scheduler/extender/padded_body.h"
#include "test/scheduler/extender/rig.h"

namespace partage::scheduler {
namespace {

using nlohmann::json;
using test::Node;
using test::Rig;
using test::UnboundPod;

json PodJson(const std::string& name, const json& limits) {
  return {{"metadata", {{"name", name}, {"namespace", "default"}, {"uid", "uid-of-" + name}}},
          {"spec", {{"containers", json::array({{{"name", "c0"}, {"resources", {{"limits", limits}}}}})}}}};
}

json Gpu(const std::string& mib) { return {{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", mib}}; }

std::string ArgsText(const json& pod, const std::vector<std::string>& names) {
  return json{{"Pod", pod}, {"Nodes", nullptr}, {"NodeNames", names}}.dump();
}

// An extender with two nodes of one 80 GiB GPU, called without a socket.
class Called {
 public:
  Called()
      : extender_(rig_.engine(), rig_.binder(), rig_.catalog(), rig_.registry()),
        handlers_(extender_.MakeHandlers([this] { return ready_; })) {
    rig_.With(Node("n1").Gpus(1, 81920)).With(Node("n2").Gpus(1, 81920));
  }

  http::Response Call(const http::Handler& handler, const std::string& text) {
    const test::PaddedBody body(text);
    auto answer = std::make_shared<std::promise<http::Response>>();
    auto future = answer->get_future();
    handler({.method = "POST", .path = "", .query = "", .body = body},
            [answer](http::Response response) { answer->set_value(std::move(response)); });
    return future.get();
  }
  json Filter(const json& pod, const std::vector<std::string>& names) { return Ok(Call(handlers_.filter, ArgsText(pod, names))); }
  json Prioritize(const json& pod, const std::vector<std::string>& names) { return Ok(Call(handlers_.prioritize, ArgsText(pod, names))); }
  json Bind(const std::string& name, const std::string& node) {
    return Ok(
        Call(handlers_.bind, json{{"PodName", name}, {"PodNamespace", "default"}, {"PodUID", "uid-of-" + name}, {"Node", node}}.dump()));
  }
  static json Ok(const http::Response& response) {
    CHECK(response.status == 200);
    CHECK(response.content_type == "application/json");
    return json::parse(response.body);
  }

  Rig& rig() { return rig_; }
  const Extender::Handlers& handlers() const { return handlers_; }
  void SetReady(bool ready) { ready_ = ready; }

 private:
  Rig rig_;
  bool ready_ = true;
  Extender extender_;
  Extender::Handlers handlers_;
};

TEST_CASE("A pod is filtered, and bound to the node it was given") {
  Called called;
  const json reply = called.Filter(PodJson("a", Gpu("8000")), {"n1", "n2"});
  CHECK(reply["NodeNames"] == json({"n1"}));
  CHECK(reply["Error"] == "");
  called.rig().With(UnboundPod("a", 8000));
  CHECK(called.Bind("a", "n1") == json{{"Error", ""}});
  CHECK(called.rig().api().pod("default/a").node_name == "n1");
  called.rig().CheckLedger(1, 0);
}

TEST_CASE("A pod that fits nowhere gets every node's reason") {
  Called called;
  const json reply = called.Filter(PodJson("a", Gpu("90000")), {"n1", "n2", "cpu-only"});
  CHECK(reply["NodeNames"].empty());
  CHECK(reply["FailedNodes"].size() + reply["FailedAndUnresolvableNodes"].size() == 3);
  CHECK_THAT(reply.dump(), Catch::Contains("90000 MiB"));
  called.rig().CheckLedger(0, 0);
}

TEST_CASE("A request that can never be served is refused on every node with the correction") {
  Called called;
  const json reply = called.Filter(PodJson("a", Gpu("16Gi")), {"n1", "n2"});
  CHECK(reply["NodeNames"].empty());
  CHECK(reply["FailedNodes"].empty());
  CHECK_THAT(reply["FailedAndUnresolvableNodes"]["n2"].get<std::string>(), Catch::Contains("16384"));
}

TEST_CASE("A pod that wants nothing of ours passes everywhere, whatever state we are in") {
  Called called;
  for (const bool ready : {true, false}) {
    called.SetReady(ready);
    CHECK(called.Filter(PodJson("web", {{"cpu", "1"}}), {"n1", "cpu-only"})["NodeNames"] == json({"n1", "cpu-only"}));
    CHECK(called.Filter(PodJson("zero", {{"nvidia.com/gpu", "0"}}), {"n1"})["NodeNames"] == json({"n1"}));
    CHECK(called.Prioritize(PodJson("web", {{"cpu", "1"}}), {"n1"}).empty());
  }
}

TEST_CASE("Whole nodes come back whole") {
  Called called;
  const json n1 = {{"metadata", {{"name", "n1"}, {"labels", {{"zone", "a"}}}}}}, stranger = {{"metadata", {{"name", "template-node"}}}};
  const json args = {
      {"Pod", PodJson("a", Gpu("8000"))}, {"Nodes", {{"metadata", json::object()}, {"items", {stranger, n1}}}}, {"NodeNames", nullptr}};
  const json reply = Called::Ok(called.Call(called.handlers().filter, args.dump()));
  CHECK(reply["NodeNames"].is_null());
  CHECK(reply["Nodes"]["items"] == json::array({n1}));
}

TEST_CASE("Fitting nodes are scored from 0 to 10") {
  Called called;
  const json scores = called.Prioritize(PodJson("a", Gpu("8000")), {"n2", "nowhere", "n1"});
  REQUIRE(scores.size() == 3);
  CHECK(scores[1] == json{{"Host", "nowhere"}, {"Score", 0}});
  for (const json& score : scores) CHECK((score["Score"] >= 0 && score["Score"] <= 10));
}

TEST_CASE("An answer that says not ready ends its connection, so that the next call may reach the replica that is active") {
  Called called;
  const std::string ask = ArgsText(PodJson("a", Gpu("8000")), {"n1"});
  const std::string bind = R"({"PodName":"a","PodNamespace":"default","PodUID":"uid-of-a","Node":"n1"})";
  CHECK_FALSE(called.Call(called.handlers().filter, ask).close);
  called.SetReady(false);
  CHECK(called.Call(called.handlers().filter, ask).close);
  CHECK(called.Call(called.handlers().bind, bind).close);
}

TEST_CASE("Before the cluster is read, filter and bind answer with the reason and nothing is written") {
  Called called;
  called.SetReady(false);
  called.rig().With(UnboundPod("a", 8000));
  const json filtered = called.Filter(PodJson("a", Gpu("8000")), {"n1"});
  CHECK_THAT(filtered["Error"].get<std::string>(), Catch::Contains("not ready"));
  CHECK(filtered["NodeNames"].is_null());
  CHECK(called.Prioritize(PodJson("a", Gpu("8000")), {"n1"}).empty());
  CHECK_THAT(called.Bind("a", "n1")["Error"].get<std::string>(), Catch::Contains("not ready"));
  CHECK(called.rig().api().writes().empty());
  called.rig().CheckLedger(0, 0);
}

TEST_CASE("A bind that fails says why") {
  Called called;
  called.rig().With(UnboundPod("a", 90000));
  CHECK_THAT(called.Bind("a", "n1")["Error"].get<std::string>(), Catch::Contains("bind pod default/a to node n1"));
  called.rig().CheckLedger(0, 0);
}

TEST_CASE("Malformed bodies get a 400 that says where, and are counted") {
  Called called;
  for (const http::Handler* handler : {&called.handlers().filter, &called.handlers().prioritize, &called.handlers().bind}) {
    const http::Response response = called.Call(*handler, "{\"Pod\":");
    CHECK(response.status == 400);
    CHECK_THAT(json::parse(response.body)["error"].get<std::string>(), Catch::Contains("body: "));
  }
  const std::string metrics = called.rig().registry().Expose();
  CHECK_THAT(metrics, Catch::Contains(R"(partage_http_bad_requests_total{path="/filter"} 1)"));
  CHECK_THAT(metrics, Catch::Contains(R"(partage_http_bad_requests_total{path="/bind"} 1)"));
}

TEST_CASE("Calls are timed by outcome and writes counted") {
  Called called;
  called.Filter(PodJson("a", Gpu("8000")), {"n1"});
  called.Filter(PodJson("b", Gpu("90000")), {"n1"});
  called.Filter(PodJson("c", Gpu("16Gi")), {"n1"});
  called.Filter(PodJson("d", json::object()), {"n1"});
  called.rig().With(UnboundPod("a", 8000));
  called.Bind("a", "n1");
  const std::string metrics = called.rig().registry().Expose();
  for (const char* outcome : {"fit", "refused", "invalid", "not_ours"}) {
    CHECK_THAT(metrics, Catch::Contains(fmt::format(R"(partage_filter_duration_seconds_count{{outcome="{}"}} 1)", outcome)));
  }
  CHECK_THAT(metrics, Catch::Contains(R"(partage_bind_duration_seconds_count{outcome="bound"} 1)"));
  CHECK_THAT(metrics, Catch::Contains(R"(partage_binding_writes_total{outcome="written"} 1)"));
}

TEST_CASE("What the engine tells of itself is counted") {
  metrics::Registry registry;
  MetricsProbe probe(registry);
  probe.OnRefusal("CardInsufficientMemory", 3);
  probe.OnRefusal("CardInsufficientMemory", 4);
  probe.OnNominationRace();
  CHECK_THAT(registry.Expose(), Catch::Contains(R"(partage_filter_refused_nodes_total{reason="CardInsufficientMemory"} 7)"));
  CHECK_THAT(registry.Expose(), Catch::Contains("partage_nomination_races_total 1"));
}

}  // namespace
}  // namespace partage::scheduler
