// SPDX-License-Identifier: Apache-2.0
#include "test/support/libcuda/gpu/profile.h"

#include <catch2/catch.hpp>

#include "test/support/damage.h"

namespace partage::fake_gpu {
namespace {

constexpr const char* kWhole =
    "device uuid=GPU-1 name=A memory=80G sms=132 capability=9.0 pci=00000000:3B:00.0\n"
    "device parent=0 uuid=MIG-1 profile=1g.10gb memory=10G\n"
    "cuda_order 1 0 ; context 300M; kernel 1.5ms   # a comment; to the end of the line\n"
    "queue 7; host_pids offset 1000; fail cuMemAlloc_v2 2 skip=3 times=1; shm /tmp/x; fast";

TEST_CASE("A profile says everything that its statements say") {
  Profile profile;
  REQUIRE(profile.Add(kWhole).empty());
  REQUIRE(profile.devices.size() == 2);
  CHECK(profile.devices[0].memory == uint64_t{80} << 30);
  CHECK(profile.devices[0].major == 9);
  CHECK(profile.devices[0].pci == "00000000:3B:00.0");
  CHECK(profile.devices[1].parent == 0);
  CHECK(profile.cuda_order == std::vector<int>{1, 0});
  CHECK(profile.context_bytes == uint64_t{300} << 20);
  CHECK(profile.kernel_ns == 1'500'000);
  CHECK(profile.queue_depth == 7);
  CHECK(profile.host_pid_offset == 1000);
  REQUIRE(profile.injections.size() == 1);
  CHECK(profile.injections[0].skip == 3);
  CHECK(profile.fast);
}

TEST_CASE("What a profile does not say has a default") {
  Profile profile;
  profile.Complete();
  REQUIRE(profile.devices.size() == 1);
  CHECK(profile.devices[0].memory == uint64_t{16} << 30);
  CHECK(profile.devices[0].uuid.size() == 40);
  CHECK(profile.devices[0].uuid.starts_with("GPU-"));
}

TEST_CASE("A mistake in a profile is named, never skipped") {
  const std::string line =
      GENERATE("nonsense", "device memory=x", "device colour=red", "device parent=0", "context", "context 3Q", "kernel 5", "queue 0",
               "fail cuInit", "fail cuInit 1 often=2", "host_pids somewhere", "fast 1", "cuda_order", "cuda_order a");
  CAPTURE(line);
  CHECK(Profile().Add("kernel 1ms\n" + line).find(line) != std::string::npos);
}

TEST_CASE("A damaged profile never crashes the reader") {
  int refused = 0;
  test::ForEachDamaged(kWhole, 500, [&](const std::string& text) { refused += !Profile().Add(text).empty(); });
  CHECK(refused > 100);
}

TEST_CASE("Sizes and durations have units, and nothing after them") {
  uint64_t bytes = 0;
  int64_t ns = 0;
  CHECK((ParseBytes("1.5K", bytes) && bytes == 1536));
  CHECK((ParseBytes("300MiB", bytes) && bytes == uint64_t{300} << 20));
  CHECK_FALSE(ParseBytes("300MB", bytes));
  CHECK_FALSE(ParseBytes("-1", bytes));
  CHECK((ParseDuration("20us", ns) && ns == 20'000));
  CHECK_FALSE(ParseDuration("20", ns));
  CHECK_FALSE(ParseDuration("us", ns));
}

}  // namespace
}  // namespace partage::fake_gpu
