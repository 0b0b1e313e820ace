// SPDX-License-Identifier: Apache-2.0
#include "test/bench/filter_body.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "base/check.h"

namespace partage::bench {

std::vector<std::string> Candidates(const Fleet& fleet, int count, std::uint64_t seed) {
  std::vector<int> order(static_cast<std::size_t>(fleet.nodes));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(fleet.NodeName(order[static_cast<std::size_t>(i)]));
  return names;
}

FilterBody::FilterBody(int form, const std::vector<std::string>& candidates) : form_(form) {
  const PendingPod pod{0, form};
  text_ = R"({"Pod":)" + pod.Text() + R"(,"Nodes":null,"NodeNames":[)";
  for (const auto& name : candidates) text_ += '"' + name + "\",";
  if (!candidates.empty()) text_.pop_back();
  text_ += "]}\n";
  name_at_ = text_.find(pod.Name());
  uid_at_ = text_.find(pod.Uid());
}

const std::string& FilterBody::For(int serial) {
  const PendingPod pod{serial, form_};
  Overwrite(name_at_, pod.Name());
  Overwrite(uid_at_, pod.Uid());
  return text_;
}

void FilterBody::Overwrite(std::size_t at, const std::string& text) {
  PARTAGE_CHECK(at + text.size() <= text_.size(), "the pod's name and UID stand in the body");
  text_.replace(at, text.size(), text);
}

}  // namespace partage::bench
