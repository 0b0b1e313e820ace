// SPDX-License-Identifier: Apache-2.0
#include "cli/scheduling_cycle.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "base/mutex.h"
#include "http/server.h"

namespace partage::cli {
namespace {

using nlohmann::json;

using Answers = std::map<std::string, std::string>;  // path → body

/// An extender with canned answers that writes down what it is asked.
class CannedExtender {
 public:
  explicit CannedExtender(Answers answers) : answers_(std::move(answers)) {
    for (const auto& [path, answer] : answers_) {
      server_.Route("POST", path, [this, &answer = answer](const http::Request& request, http::Respond respond) {
        MutexLock lock(mutex_);
        asked_.emplace_back(std::string(request.path), json::parse(request.body));
        respond({200, answer, "application/json"});
      });
    }
    REQUIRE(server_.Start().has_value());
  }

  Result<CycleOutcome> Schedule() {
    const ManifestPod pod{"team", "p", "u1", "", R"({"metadata":{"name":"p"}})"};
    auto client = HttpClient::Make("http://127.0.0.1:" + std::to_string(server_.port())).value();
    return cli::Schedule(client, pod, {"n1", "n2"});
  }

  std::vector<std::pair<std::string, json>> asked() {
    MutexLock lock(mutex_);
    return asked_;
  }

 private:
  const Answers answers_;
  Mutex mutex_;
  std::vector<std::pair<std::string, json>> asked_ PARTAGE_GUARDED_BY(mutex_);
  http::Server server_{{}};
};

TEST_CASE("One fitting node is bound without being scored") {
  CannedExtender extender(Answers{{"/filter", R"({"NodeNames":["n2"],"Error":""})"}, {"/bind", R"({"Error":""})"}});
  CHECK(extender.Schedule().value().node == "n2");
  const auto asked = extender.asked();
  REQUIRE(asked.size() == 2);
  CHECK(asked[0].second == json{{"Pod", {{"metadata", {{"name", "p"}}}}}, {"Nodes", nullptr}, {"NodeNames", {"n1", "n2"}}});
  CHECK(asked[1].second == json{{"PodName", "p"}, {"PodNamespace", "team"}, {"PodUID", "u1"}, {"Node", "n2"}});
}

TEST_CASE("Of several fitting nodes the best score is bound") {
  CannedExtender extender(Answers{{"/filter", R"({"NodeNames":["n1","n2"]})"},
                                  {"/prioritize", R"([{"Host":"n1","Score":3},{"Host":"n2","Score":7}])"},
                                  {"/bind", R"({"Error":""})"}});
  CHECK(extender.Schedule().value().node == "n2");
}

TEST_CASE("Refusals are gathered by reason") {
  CannedExtender extender(
      Answers{{"/filter", R"({"NodeNames":[],"FailedNodes":{"n1":"full"},"FailedAndUnresolvableNodes":{"n2":"full","n3":"none"}})"}});
  const auto outcome = extender.Schedule().value();
  CHECK(outcome.node.empty());
  CHECK(outcome.refusals.at("full") == std::vector<std::string>{"n1", "n2"});
  CHECK(outcome.refusals.at("none") == std::vector<std::string>{"n3"});
}

TEST_CASE("An error in the answer is the outcome, not a failure of the call") {
  CannedExtender filter(Answers{{"/filter", R"({"Error":"bad request"})"}});
  CHECK(filter.Schedule().value().error == "bad request");
  CannedExtender bind(Answers{{"/filter", R"({"NodeNames":["n1"]})"}, {"/bind", R"({"Error":"too late"})"}});
  const auto outcome = bind.Schedule().value();
  CHECK(outcome.node.empty());
  CHECK(outcome.error == "too late");
}

TEST_CASE("An answer that is not the protocol fails the call") {
  CHECK_FALSE(CannedExtender(Answers{{"/filter", "hello"}}).Schedule().has_value());
  CHECK_FALSE(CannedExtender(Answers{{"/filter", "[]"}}).Schedule().has_value());
  CHECK_FALSE(CannedExtender(Answers{{"/filter", R"({"NodeNames":[1]})"}}).Schedule().has_value());
  CHECK_FALSE(CannedExtender(Answers{}).Schedule().has_value());
}

}  // namespace
}  // namespace partage::cli
