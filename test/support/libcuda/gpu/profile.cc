// SPDX-License-Identifier: Apache-2.0
#include "test/support/libcuda/gpu/profile.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

namespace partage::fake_gpu {
namespace {

using Words = std::vector<std::string>;
using Setter = std::function<bool(Profile&, const Words&)>;  // the words after the statement's name; false: not understood

template <class T>
bool ParseNumber(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

/// "12unit" → 12 and the unit's factor; -1 when the unit is not among `units`.
template <class T>
bool ParseWithUnit(std::string_view text, const std::map<std::string_view, T>& units, T& value) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return false;
  const auto unit = units.find(text.substr(static_cast<size_t>(end - text.data())));
  if (unit == units.end()) return false;
  value = static_cast<T>(number * static_cast<double>(unit->second));
  return true;
}

/// "key=value" → true and both parts.
bool Split(const std::string& word, std::string& key, std::string& value) {
  const auto equals = word.find('=');
  if (equals == std::string::npos) return false;
  key = word.substr(0, equals);
  value = word.substr(equals + 1);
  return true;
}

bool SetCapability(DeviceSpec& device, const std::string& value) {
  const auto dot = value.find('.');
  return dot != std::string::npos && ParseNumber(value.substr(0, dot), device.major) && ParseNumber(value.substr(dot + 1), device.minor);
}

bool SetDeviceField(DeviceSpec& device, const std::string& key, const std::string& value) {
  const std::map<std::string, std::function<bool()>> fields = {
      {"uuid", [&] { return !(device.uuid = value).empty(); }},      {"name", [&] { return !(device.name = value).empty(); }},
      {"memory", [&] { return ParseBytes(value, device.memory); }},  {"sms", [&] { return ParseNumber(value, device.sms); }},
      {"capability", [&] { return SetCapability(device, value); }},  {"pci", [&] { return !(device.pci = value).empty(); }},
      {"parent", [&] { return ParseNumber(value, device.parent); }}, {"profile", [&] { return !(device.mig_profile = value).empty(); }},
  };
  const auto field = fields.find(key);
  return field != fields.end() && field->second();
}

bool AddDevice(Profile& profile, const Words& words) {
  DeviceSpec device;
  for (const auto& word : words) {
    std::string key, value;
    if (!Split(word, key, value) || !SetDeviceField(device, key, value)) return false;
  }
  if (device.parent >= static_cast<int>(profile.devices.size())) return false;
  profile.devices.push_back(device);
  return true;
}

bool SetOrder(Profile& profile, const Words& words) {
  profile.cuda_order.clear();
  for (const auto& word : words) {
    if (!ParseNumber(word, profile.cuda_order.emplace_back())) return false;
  }
  return !words.empty();
}

bool SetHostPids(Profile& profile, const Words& words) {
  if (words == Words{"hidden"}) return profile.host_pids = HostPids::kHidden, true;
  profile.host_pids = HostPids::kOffset;
  return words.size() == 2 && words[0] == "offset" && ParseNumber(words[1], profile.host_pid_offset);
}

bool AddInjection(Profile& profile, const Words& words) {
  Injection injection;
  if (words.size() < 2 || !ParseNumber(words[1], injection.code)) return false;
  injection.name = words[0];
  for (size_t i = 2; i < words.size(); ++i) {
    std::string key, value;
    if (!Split(words[i], key, value)) return false;
    if (key != "skip" && key != "times") return false;
    if (!ParseNumber(value, key == "skip" ? injection.skip : injection.times)) return false;
  }
  profile.injections.push_back(injection);
  return true;
}

Setter Bytes(uint64_t Profile::*field) {
  return [field](Profile& profile, const Words& words) { return words.size() == 1 && ParseBytes(words[0], profile.*field); };
}

Setter Duration(int64_t Profile::*field) {
  return [field](Profile& profile, const Words& words) { return words.size() == 1 && ParseDuration(words[0], profile.*field); };
}

Setter Text(std::string Profile::*field) {
  return [field](Profile& profile, const Words& words) { return words.size() == 1 && !(profile.*field = words[0]).empty(); };
}

const std::map<std::string, Setter>& Statements() {
  static const auto& statements = *new std::map<std::string, Setter>{
      {"device", AddDevice},
      {"cuda_order", SetOrder},
      {"driver", Text(&Profile::driver)},
      {"memory_granularity", Bytes(&Profile::memory_granularity)},
      {"vmm_granularity", Bytes(&Profile::vmm_granularity)},
      {"array_granularity", Bytes(&Profile::array_granularity)},
      {"pool_chunk", Bytes(&Profile::pool_chunk)},
      {"context", Bytes(&Profile::context_bytes)},
      {"module", Bytes(&Profile::module_bytes)},
      {"copy_bandwidth", Bytes(&Profile::copy_bandwidth)},
      {"kernel", Duration(&Profile::kernel_ns)},
      {"slice", Duration(&Profile::slice_ns)},
      {"queue",
       [](Profile& p, const Words& words) { return words.size() == 1 && ParseNumber(words[0], p.queue_depth) && p.queue_depth > 0; }},
      {"nvml_period", Duration(&Profile::nvml_period_ns)},
      {"nvml_lag", Duration(&Profile::nvml_lag_ns)},
      {"host_pids", SetHostPids},
      {"shm", Text(&Profile::shm)},
      {"fast", [](Profile& p, const Words& words) { return p.fast = words.empty(); }},
      {"fail", AddInjection},
  };
  return statements;
}

std::string AddStatement(Profile& profile, const std::string& line) {
  std::istringstream stream(line);
  std::string name;
  if (!(stream >> name)) return {};
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  const auto statement = Statements().find(name);
  if (statement == Statements().end() || !statement->second(profile, words)) return "not understood: " + line;
  return {};
}

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  if (!file) return "file " + std::string(path) + " cannot be read";  // no statement begins so: refused below
  return {std::istreambuf_iterator<char>(file), {}};
}

const Profile* Load() {
  auto* profile = new Profile;
  std::string wrong;
  if (const char* path = std::getenv("FAKE_CUDA_PROFILE")) wrong = profile->Add(ReadFile(path));
  if (const char* text = std::getenv("FAKE_CUDA"); text != nullptr && wrong.empty()) wrong = profile->Add(text);
  profile->Complete();
  for (const int index : profile->cuda_order) {
    if (index < 0 || index >= static_cast<int>(profile->devices.size())) wrong = "cuda_order names a device that is not there";
  }
  if (wrong.empty()) return profile;
  std::fprintf(stderr, "fake driver: %s\n", wrong.c_str());
  std::abort();
}

}  // namespace

bool ParseBytes(std::string_view text, uint64_t& bytes) {
  constexpr uint64_t kKi = 1024;
  static const auto& units = *new std::map<std::string_view, uint64_t>{
      {"", 1},      {"K", kKi},         {"M", kKi * kKi},        {"G", kKi * kKi * kKi}, {"T", kKi * kKi * kKi * kKi},
      {"KiB", kKi}, {"MiB", kKi * kKi}, {"GiB", kKi * kKi * kKi}};
  return ParseWithUnit(text, units, bytes);
}

bool ParseDuration(std::string_view text, int64_t& ns) {
  static const auto& units = *new std::map<std::string_view, int64_t>{{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}};
  return ParseWithUnit(text, units, ns);
}

std::string Profile::Add(std::string_view text) {
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream statements(line.substr(0, line.find('#')));
    for (std::string statement; std::getline(statements, statement, ';');) {
      if (auto wrong = AddStatement(*this, statement); !wrong.empty()) return wrong;
    }
  }
  return {};
}

void Profile::Complete() {
  if (devices.empty()) devices.emplace_back();
  for (size_t i = 0; i < devices.size(); ++i) {
    char text[64];
    const char* kind = devices[i].parent < 0 ? "GPU" : "MIG";
    std::snprintf(text, sizeof(text), "%s-%08zx-0000-4000-8000-%012zx", kind, 0x5eed0000 + i, i + 1);
    if (devices[i].uuid.empty()) devices[i].uuid = text;
    std::snprintf(text, sizeof(text), "00000000:%02zX:00.0", 0x10 + i);
    if (devices[i].pci.empty()) devices[i].pci = text;
  }
}

const Profile& Profile::Get() {
  static const Profile& profile = *Load();
  return profile;
}

}  // namespace partage::fake_gpu
