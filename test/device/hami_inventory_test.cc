// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "device/inventory_codec.h"
#include "test/support/damage.h"

namespace partage::device {
namespace {

constexpr std::string_view kRegister =
    R"([{"id":"GPU-b","index":1,"count":10,"devmem":15360,"devcore":100,"type":"NVIDIA-Tesla T4","numa":1,"mode":"hami-core","health":true},)"
    R"({"id":"GPU-a","count":10,"devmem":46068,"devcore":150,"type":"NVIDIA A40","health":true,"devicepairscore":{},"devicevendor":"NVIDIA"},)"
    R"({"id":"GPU-c","index":2,"count":7,"devmem":40960,"devcore":100,"type":"NVIDIA A100-SXM4-40GB","mode":"mig",)"
    R"("migProfiles":[{"name":"1g.5gb","memoryMB":4864,"core":15,"sliceCount":1,"placements":[{"start":6,"size":1}]}]}])";
constexpr std::string_view kScores =
    R"([{"uuid":"GPU-a","score":{"GPU-b":120,"GPU-hidden":60}},{"uuid":"GPU-b","score":{"GPU-a":120}},{"uuid":"GPU-x"}])";
constexpr std::string_view kColon =
    "GPU-03f69c50-207a-2038-9b45-23cac89cb67d,10,46068,100,NVIDIA-NVIDIA A40,0,true:GPU-b,4,15360,100,T4,-1,F,3,mig:";

Result<NodeInventory> Decode(std::string_view registered, std::string_view scores = {}, std::string_view cordon = {}) {
  return DecodeHamiInventory("nvidia", {registered, scores, cordon});
}

std::string Refusal(std::string_view registered, std::string_view scores = {}) {
  const auto inventory = Decode(registered, scores);
  INFO(registered << " " << scores);
  REQUIRE_FALSE(inventory.has_value());
  CHECK(inventory.error().code == Code::kInvalid);
  return inventory.error().message;
}

TEST_CASE("HAMi's JSON register is read with its absent fields as zero") {
  const auto inventory = Decode(kRegister);
  REQUIRE(inventory.has_value());
  CHECK(inventory->dialect == NodeInventory::Dialect::kHami);
  REQUIRE(inventory->devices.size() == 3);
  const auto& a = inventory->devices[0];
  CHECK((a.uuid == "GPU-a" && a.vendor == "nvidia" && a.index == 0 && a.numa == 0 && a.mode == Mode::kShared));
  CHECK((a.model == "NVIDIA A40" && a.mib == 46068 && a.cores == 150 && a.slots == 10 && a.healthy && !a.cordoned));
  CHECK(inventory->devices[1].model == "NVIDIA-Tesla T4");
  CHECK(inventory->devices[1].numa == 1);
  CHECK(inventory->devices[2].mode == Mode::kMig);
  CHECK_FALSE(inventory->devices[2].healthy);
}

TEST_CASE("HAMi's link scores and cordon list are applied") {
  const auto inventory = Decode(kRegister, kScores, " GPU-c ,,GPU-unknown");
  REQUIRE(inventory.has_value());
  CHECK(inventory->devices[0].links == std::vector<std::int32_t>{0, 120, 0});
  CHECK(inventory->devices[1].links == std::vector<std::int32_t>{120, 0, 0});
  CHECK(inventory->devices[2].cordoned);
  CHECK_FALSE(inventory->devices[0].cordoned);
}

TEST_CASE("HAMi's older colon text is read with 7 and with 9 fields") {
  const auto inventory = Decode(kColon);
  REQUIRE(inventory.has_value());
  REQUIRE(inventory->devices.size() == 2);
  const auto& a40 = inventory->devices[0];
  CHECK((a40.uuid == "GPU-03f69c50-207a-2038-9b45-23cac89cb67d" && a40.index == 0 && a40.mode == Mode::kShared && a40.healthy));
  CHECK((a40.model == "NVIDIA-NVIDIA A40" && a40.mib == 46068 && a40.slots == 10));
  const auto& t4 = inventory->devices[1];
  CHECK((t4.index == 3 && t4.mode == Mode::kMig && !t4.healthy && t4.numa == 0));
}

TEST_CASE("A node without cards has an empty inventory") {
  CHECK(Decode("[]")->devices.empty());
  CHECK(Decode("null")->devices.empty());
  CHECK(Decode(":")->devices.empty());
}

TEST_CASE("A refusal of HAMi's register names the place and the value") {
  CHECK(Refusal("") == "register \"\" is neither a JSON list nor devices ended by ':'");
  CHECK(Refusal("GPU-a,10,46068") == "register \"GPU-a,10,46068\" is neither a JSON list nor devices ended by ':'");
  CHECK(Refusal("GPU-a,10:") == "register[0] \"GPU-a,10\" has 2 fields, not 7 or 9");
  CHECK(Refusal("GPU-a,x,1,1,T4,0,true:") == "register[0]: count must be a whole number from 0 to 100000, not \"x\"");
  CHECK(Refusal("GPU-a,1,99999999999,1,T4,0,true:") ==
        "register[0]: devmem must be a whole number from 0 to 2147483647, not \"99999999999\"");
  CHECK(Refusal("GPU-a,1,1,1,T4,0,yes:") == "register[0]: health must be true or false, not \"yes\"");
  CHECK(Refusal("GPU-a,1,1,1,T4,0,true,-1,hami-core:") == "register[0]: index must be a whole number from 0 to 2147483647, not \"-1\"");
  CHECK(Refusal(R"([{"id":"a","devmem":2147483648}])") == "register[0].devmem must be a whole number from 0 to 2147483647, not 2147483648");
  CHECK(Refusal(R"([{"index":1}])") == "register[0].id is missing or empty");
  CHECK(Refusal(R"([{"id":"a"},{"id":"a"}])") == "register[1]: two devices have the UUID \"a\"");
  CHECK(Refusal("[]", "{}") == "score must be a list, not an object");
  CHECK(Refusal(R"([{"id":"a"}])", R"([{"uuid":"a","score":{"b":"x"}}])") ==
        "score[0].score.b must be a whole number from 0 to 2147483647, not \"x\"");
}

TEST_CASE("Damaged registers are an error or an inventory, never a crash") {
  for (const auto document : {kRegister, kColon}) {
    test::ForEachDamaged(document, 3'000, [](const std::string& damaged) { (void)Decode(damaged); });
  }
  test::ForEachDamaged(kScores, 3'000, [](const std::string& damaged) { (void)Decode(kRegister, damaged); });
}

}  // namespace
}  // namespace partage::device
