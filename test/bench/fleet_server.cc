// SPDX-License-Identifier: Apache-2.0
#include "test/bench/fleet_server.h"

#include <atomic>
#include <chrono>
#include <iostream>
#include <optional>
#include <sstream>

#include "test/bench/churner.h"
#include "test/bench/give_up.h"
#include "test/support/fake_api_server.h"

namespace partage::bench {
namespace {

using std::chrono::milliseconds;
using test::FakeApiServer;
using test::Kind;

class Server {
 public:
  std::string Answer(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "url") return api_.url();
    if (command == "writes") return std::to_string(api_.Writes());
    if (command == "fill") return Fill(words);
    if (command == "pending") return AddPending(words);
    if (command == "slow") return SlowWrites(words);
    if (command == "churn") return Churn(words);
    return "what?";
  }

 private:
  std::string Fill(std::istream& words) {
    words >> fleet_.nodes >> fleet_.pods_per_node >> fleet_.slots;
    for (int node = 0; node < fleet_.nodes; ++node) {
      api_.Put(Kind::kNodes, fleet_.NodeText(node));
      for (int pod = 0; pod < fleet_.pods_per_node; ++pod) api_.Put(Kind::kPods, fleet_.BoundPodText(node, pod));
    }
    return "ok";
  }

  std::string AddPending(std::istream& words) {
    int first = 0, count = 0;
    bool small = false;
    words >> first >> count >> small;
    for (int serial = first; serial < first + count; ++serial) {
      api_.Put(Kind::kPods, PendingPod{serial, small ? PendingPod::kSmallForm : serial % PendingPod::kForms}.Text());
    }
    return "ok";
  }

  std::string SlowWrites(std::istream& words) {
    int ms = 0;
    unsigned conflicts = 0;
    words >> ms >> conflicts;
    api_.SetWriteLatency(milliseconds(ms));
    api_.OnCall([this, conflicts](const test::ApiCall& call) {
      test::Fault fault;
      if (call.verb == test::Verb::kBind && bindings_++ * conflicts % 100 < conflicts) fault.status = 409;
      return fault;
    });
    return "ok";
  }

  std::string Churn(std::istream& words) {
    int per_second = 0;
    words >> per_second;
    if (!churner_) churner_.emplace(api_, fleet_);
    return std::to_string(churner_->SetRate(per_second));
  }

  FakeApiServer api_;
  Fleet fleet_;
  std::atomic<unsigned> bindings_{0};
  std::optional<Churner> churner_;
};

}  // namespace

FleetServer::FleetServer(const Fleet& fleet, const std::string& folder) : child_({"/proc/self/exe", "serve"}, folder + "/api.log") {
  url_ = child_.Ask("url");
  Tell(fmt::format("fill {} {} {}", fleet.nodes, fleet.pods_per_node, fleet.slots));
}

void FleetServer::Tell(const std::string& command) {
  if (const auto answer = child_.Ask(command); answer != "ok") GiveUp("the API server's process says \"{}\" to \"{}\"", answer, command);
}

void FleetServer::AddPending(int first, int count, bool small) { Tell(fmt::format("pending {} {} {}", first, count, small ? 1 : 0)); }
void FleetServer::SlowWrites(int ms, int conflicts) { Tell(fmt::format("slow {} {}", ms, conflicts)); }
double FleetServer::Churn(int events_per_second) { return std::stod(child_.Ask(fmt::format("churn {}", events_per_second))); }
std::uint64_t FleetServer::Writes() { return std::stoull(child_.Ask("writes")); }

int ServeFleet() {
  Server server;
  for (std::string line; std::getline(std::cin, line);) std::cout << server.Answer(line) << std::endl;
  return EXIT_SUCCESS;
}

}  // namespace partage::bench
