// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "test/bench/filter_body.h"
#include "test/bench/http_connection.h"

namespace partage::bench {

/// Of one or several rounds, in µs.
struct Latency {
  std::vector<double> p50, p99;  ///< by round
};

/// Filter calls one after another on one connection, as kube-scheduler makes them: pods of all forms, each body with its candidates in another order. The
/// pods come from a ring, and a pod's filter ends the nominal share that its last one left: the cluster stays as it is.
class FilterLoad {
 public:
  /// `candidates` of the fleet's nodes are named in each call.
  FilterLoad(std::uint16_t port, const Fleet& fleet, int candidates);

  /// Adds one round to `latency`. Gives up when some pod fits nowhere.
  void Round(int calls, Latency& latency);

 private:
  HttpConnection connection_;
  std::vector<FilterBody> bodies_;
  int calls_ = 0;
};

/// The node a filter call chose. Gives up when there is none.
std::string_view ChosenNode(std::string_view filter_reply);

}  // namespace partage::bench
