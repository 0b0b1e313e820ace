// SPDX-License-Identifier: Apache-2.0
#include "k8s/api/binding.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace partage::k8s {
namespace {

TEST_CASE("A binding carries the node, the uid precondition and the annotations") {
  const auto document = nlohmann::json::parse(EncodeBinding({"ns", "p", "u-1", "n1", {{"partage.dev/allocation", R"({"v":1})"}}}));
  CHECK(document == nlohmann::json::parse(R"({
    "apiVersion": "v1", "kind": "Binding",
    "metadata": {"name": "p", "namespace": "ns", "uid": "u-1", "annotations": {"partage.dev/allocation": "{\"v\":1}"}},
    "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"}})"));
}

TEST_CASE("A binding without annotations has an empty map, and bytes that are no UTF-8 do not throw") {
  const auto document = nlohmann::json::parse(EncodeBinding({"ns", "p\xff", "u", "n", {}}));
  CHECK(document["metadata"]["annotations"].empty());
}

}  // namespace
}  // namespace partage::k8s
