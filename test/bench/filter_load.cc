// SPDX-License-Identifier: Apache-2.0
#include "test/bench/filter_load.h"

#include <chrono>

#include "test/bench/give_up.h"
#include "test/bench/samples.h"

namespace partage::bench {
namespace {

constexpr int kOrders = 2;  // of the candidates, for each form
constexpr int kRing = 256;  // pods
constexpr int kFirstSerial = 9'000'000;

}  // namespace

std::string_view ChosenNode(std::string_view filter_reply) {
  constexpr std::string_view kStart = R"("NodeNames":[")";
  const auto at = filter_reply.find(kStart);
  if (at == filter_reply.npos) GiveUp("a pod fits nowhere: {}", filter_reply.substr(0, 2000));
  const auto name = filter_reply.substr(at + kStart.size());
  return name.substr(0, name.find('"'));
}

FilterLoad::FilterLoad(std::uint16_t port, const Fleet& fleet, int candidates) : connection_(port) {
  for (int i = 0; i < kOrders * PendingPod::kForms; ++i) {
    bodies_.emplace_back(i % PendingPod::kForms, Candidates(fleet, candidates, static_cast<std::uint64_t>(i)));
  }
}

void FilterLoad::Round(int calls, Latency& latency) {
  std::vector<double> micros;
  for (int i = 0; i < calls; ++i, ++calls_) {
    const std::string& body = bodies_[static_cast<std::size_t>(calls_) % bodies_.size()].For(kFirstSerial + calls_ % kRing);
    const auto began = std::chrono::steady_clock::now();
    const auto reply = connection_.Post("/filter", body);
    micros.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count());
    ChosenNode(reply);
  }
  latency.p50.push_back(Quantile(micros, 0.5));
  latency.p99.push_back(Quantile(micros, 0.99));
}

}  // namespace partage::bench
