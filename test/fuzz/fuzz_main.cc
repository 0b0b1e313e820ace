// SPDX-License-Identifier: Apache-2.0
// partage-fuzz TARGET [libFuzzer's options and corpus folders]; without arguments it names the targets. libFuzzer brings main().
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "base/log.h"
#include "test/fuzz/fuzz.h"

namespace partage::fuzz {
namespace {

// libFuzzer starts this program anew for some of its work, without the target's name.
constexpr const char* kChosen = "PARTAGE_FUZZ_TARGET";

std::map<std::string_view, TryInput>& Known() {
  static std::map<std::string_view, TryInput> known;
  return known;
}

TryInput chosen = nullptr;

[[noreturn]] void NameTargets(int status) {
  for (const Target& target : Targets()) std::printf("%.*s\n", static_cast<int>(target.name.size()), target.name.data());
  std::exit(status);
}

void Choose(const std::string& name) {
  const auto found = Known().find(name);
  if (found == Known().end()) {
    std::fprintf(stderr, "partage-fuzz: no target \"%s\"; there are:\n", name.c_str());
    NameTargets(2);
  }
  chosen = found->second;
}

}  // namespace

Registered::Registered(std::string_view name, TryInput try_input) { Known().emplace(name, try_input); }

std::vector<Target> Targets() {
  std::vector<Target> targets;
  for (const auto& [name, try_input] : Known()) targets.push_back({name, try_input});
  return targets;
}

std::vector<std::string_view> Pieces(std::string_view input, std::size_t count) {
  std::vector<std::string_view> pieces(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto end = i + 1 == count ? input.size() : std::min(input.find('\n'), input.size());
    pieces[i] = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
  }
  return pieces;
}

}  // namespace partage::fuzz

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const char* inherited = std::getenv(partage::fuzz::kChosen);
  if (inherited == nullptr && *argc < 2) partage::fuzz::NameTargets(0);
  const std::string name = inherited != nullptr ? inherited : (*argv)[1];
  partage::fuzz::Choose(name);
  if (inherited != nullptr) return 0;
  ::setenv(partage::fuzz::kChosen, name.c_str(), 1);
  std::rotate(*argv + 1, *argv + 2, *argv + *argc);
  --*argc;
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  partage::fuzz::chosen({reinterpret_cast<const char*>(data), size});
  return 0;
}
