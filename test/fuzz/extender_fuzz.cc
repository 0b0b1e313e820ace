// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "base/check.h"
#include "scheduler/extender/wire.h"
#include "test/fuzz/fuzz.h"
#include "test/scheduler/extender/padded_body.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::fuzz {
namespace {

using scheduler::ArgsDecoder;
using scheduler::ExtenderArgs;

std::shared_ptr<const scheduler::NodeIndex> SomeIndex() {
  const test::ManualClock clock;
  scheduler::Cluster cluster(clock);
  for (const auto* name : {"n1", "n2", "node-a", "node-b.example"}) cluster.ObserveNode(test::Node(name).Gpu(1000));
  cluster.Publish();
  return cluster.snapshot()->index;
}

void ExpectSame(const ExtenderArgs& plain, const ExtenderArgs& indexed) {
  PARTAGE_CHECK(plain.names == indexed.names, "the short cut reads the same names as the parser");
  PARTAGE_CHECK(plain.pod.uid == indexed.pod.uid && plain.pod.name == indexed.pod.name, "and the same pod");
  if (indexed.index == nullptr) return;
  PARTAGE_CHECK(indexed.ids.size() == indexed.names.size(), "one id a name");
  for (std::size_t i = 0; i < indexed.ids.size(); ++i) {
    PARTAGE_CHECK(indexed.ids[i] == indexed.index->Find(indexed.names[i]), "ids are those of the names");
  }
}

// Decoders live on from input to input, as they do from request to request.
const Registered kArgs("extender_args", [](std::string_view input) {
  static const auto index = SomeIndex();
  static ArgsDecoder plain_decoder, indexed_decoder;
  const test::PaddedBody body(input);
  const auto plain = plain_decoder.Decode(body);
  const auto indexed = indexed_decoder.Decode(body, index);
  PARTAGE_CHECK(plain.has_value() == indexed.has_value(), "the short cut takes and refuses what the parser does");
  if (!plain) return;
  ExpectSame(**plain, **indexed);
  (void)scheduler::EncodeAllPass(**plain);
});

const Registered kBind("bind_args", [](std::string_view input) {
  const test::PaddedBody body(input);
  const auto args = scheduler::DecodeBindArgs(body);
  PARTAGE_CHECK(!args || (!args->pod.uid.empty() && !args->pod.name.empty() && !args->node.empty()), "all four members are given");
});

}  // namespace
}  // namespace partage::fuzz
