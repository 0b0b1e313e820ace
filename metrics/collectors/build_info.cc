// SPDX-License-Identifier: Apache-2.0

#include "metrics/collectors/collector.h"
#include "metrics/collectors/family.h"

namespace partage::metrics {
namespace {

using Type = Desc::Type;

constexpr std::string_view kVersion = PARTAGE_VERSION;
constexpr std::string_view kCompiler = "gcc " __VERSION__;
#ifdef __aarch64__
constexpr std::string_view kPlatform = "linux/arm64";
#else
constexpr std::string_view kPlatform = "linux/amd64";
#endif

const Desc kOurs{Type::kGauge, "partage_build_info", "Always 1; its labels say what is running.", {"version", "compiler", "platform"}, {}};
const Desc kHamis{Type::kGauge,
                  "hami_build_info",
                  "Always 1; the same under HAMi's name, with its labels.",
                  {"version", "revision", "build_date", "go_version", "compiler", "platform"},
                  {}};

void Collect(const CollectContext&, const Registry::Sink& emit) {
  Family ours(kOurs), hamis(kHamis);
  ours.AddGauge(1, {kVersion, kCompiler, kPlatform});
  hamis.AddGauge(1, {kVersion, "unknown", "unknown", "none", kCompiler, kPlatform});
  emit(ours.Take());
  emit(hamis.Take());
}

const CollectorSpec kBuild{.name = "build_info", .summary = "What is running.", .descs = {&kOurs, &kHamis}, .collect = &Collect};
PARTAGE_REGISTER_COLLECTOR(kBuild);

}  // namespace
}  // namespace partage::metrics
