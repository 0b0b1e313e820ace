// SPDX-License-Identifier: Apache-2.0
#include "main/limits_command.h"

#include <algorithm>
#include <cstring>
#include <ostream>
#include <sstream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "main/shm_tool.h"
#include "shm/size.h"

namespace partage::app {
namespace {

constexpr const char* kManual = R"(NAME
  partage-limits - show, write or change what a container may use of its GPUs

SYNOPSIS
  partage-limits FILE [--json]
  partage-limits FILE [--replace] [--device DEVICE]... [--policy POLICY] [--priority N]

DESCRIPTION
  FILE is the limits file that libpartage.so maps in the container's processes. Without any
  change asked for, it is shown. Otherwise it is written: made when there is none, else changed
  in place, so that running processes obey at once: a larger limit grants with the next
  allocation, a smaller one refuses new memory and takes nothing away. What is not named stays
  as it is. A damaged file, or one of another version, is refused and left alone.

OPTIONS
  --device UUID[,memory=SIZE][,cores=PERCENT][,soft=on|off][,oversubscribe=on|off]
        A device by the UUID that nvidia-smi -L prints, and what changes for it. A device not in
        the file is added.
        memory         The most that all processes together may allocate: 8GiB, 3000m, 1.5g;
                       none = all there is. All units are powers of 1024.
        cores          Share of the device's time, 1 to 100; none = not limited.
        soft           Time that others leave idle may be used beyond cores.
        oversubscribe  Memory beyond the physical spills to the host, slowly.
  --policy default|force|disable
        When cores count: while somebody else wants the device (which only the node agent can
        tell: always where there is none), always, or never. A new file has default.
  --priority 0|1
        0 goes before 1. A new file has 1.
  --replace
        Forget what the file says: only what is named here holds.
  --json
        Show as JSON.
  --help
        This text.

EXIT STATUS
  0 done; 1 the file was refused, the reason is on standard error; 2 wrong arguments.

EXAMPLES
  partage-limits /run/partage/c1/limits --device GPU-8f6d9c2e-3c1a-4f0e-9f59-0a1b2c3d4e5f,memory=8GiB,cores=30
  partage-limits /run/partage/c1/limits --device GPU-8f6d9c2e-3c1a-4f0e-9f59-0a1b2c3d4e5f,memory=12GiB

SEE ALSO
  partage-top; docs/region.md
)";

constexpr std::string_view kPolicies[] = {"default", "force", "disable"};

struct Arguments {
  std::string file, policy, priority;
  std::vector<std::string> devices;
  bool replace = false, json = false, help = false;

  bool IsChange() const { return replace || !devices.empty() || !policy.empty() || !priority.empty(); }
};

Result<> Parse(std::vector<std::string> words, Arguments& arguments) {
  CLI::App app;
  app.add_option("FILE", arguments.file);
  app.add_option("--device", arguments.devices)->allow_extra_args(false);
  app.add_option("--policy", arguments.policy);
  app.add_option("--priority", arguments.priority);
  app.add_flag("--replace", arguments.replace);
  app.add_flag("--json", arguments.json);
  if (auto parsed = ParseWords(app, std::move(words), arguments.help); !parsed) return parsed;
  if (arguments.help) return {};
  if (arguments.file.empty()) return Fail(Code::kInvalid, "FILE is missing");
  if (arguments.json && arguments.IsChange())
    return Fail(Code::kInvalid, "--json shows the file; it cannot be changed by the same command");
  return {};
}

Result<bool> ParseSwitch(std::string_view key, std::string_view value) {
  if (value == "on") return true;
  if (value == "off") return false;
  return Fail(Code::kInvalid, "{}={}: on or off", key, value);
}

Result<> SetFlag(shm::DeviceLimits& device, shm::DeviceFlag flag, std::string_view key, std::string_view value) {
  const auto on = ParseSwitch(key, value);
  if (!on) return Fail(on.error());
  device.flags = *on ? device.flags | flag : device.flags & ~flag;
  return {};
}

Result<> SetMemory(shm::DeviceLimits& device, const std::string& value) {
  std::uint64_t bytes = shm::kNoLimit;
  const bool read = value == "none" || (shm::ParseSize(value.c_str(), &bytes) && bytes != 0);
  if (!read)
    return Fail(Code::kInvalid, "memory={}: an amount above zero and below 2^63 bytes, such as 8GiB, 3000m or 1.5g, or none", value);
  device.memory_bytes = bytes;
  return {};
}

Result<> SetCores(shm::DeviceLimits& device, const std::string& value) {
  std::uint64_t percent = 0;
  const bool read = value == "none" || (shm::ParseNumber(value.c_str(), 100, &percent) && percent != 0);
  if (!read) return Fail(Code::kInvalid, "cores={}: a whole number from 1 to 100, or none", value);
  device.cores_percent = static_cast<std::uint32_t>(percent);
  return {};
}

Result<> Set(shm::DeviceLimits& device, const std::string& setting) {
  const auto equals = setting.find('=');
  const std::string key = setting.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : setting.substr(equals + 1);
  if (key == "memory") return SetMemory(device, value);
  if (key == "cores") return SetCores(device, value);
  if (key == "soft") return SetFlag(device, shm::kSoftCores, key, value);
  if (key == "oversubscribe") return SetFlag(device, shm::kOversubscribe, key, value);
  return Fail(Code::kInvalid, "{}: there are memory, cores, soft and oversubscribe", setting);
}

/// The device, or a new one at the end; nullptr when there is no room.
shm::DeviceLimits* FindOrAdd(shm::LimitsContent& content, const std::string& uuid) {
  const shm::DeviceLimits* const end = content.device + content.devices;
  for (shm::DeviceLimits* at = content.device; at != end; ++at) {
    if (shm::IsSameUuid(uuid.c_str(), at->uuid)) return at;
  }
  if (content.devices == shm::kMaxDevices) return nullptr;
  shm::DeviceLimits& added = content.device[content.devices++];
  added = {};
  std::memcpy(added.uuid, uuid.c_str(), std::min(uuid.size(), sizeof added.uuid - 1));
  return &added;
}

Result<> ChangePolicy(shm::LimitsContent& content, const std::string& policy) {
  if (policy.empty()) return {};
  const auto* const found = std::find(std::begin(kPolicies), std::end(kPolicies), policy);
  if (found == std::end(kPolicies)) return Fail(Code::kInvalid, "--policy {}: default, force or disable", policy);
  content.policy = static_cast<shm::CorePolicy>(found - std::begin(kPolicies));
  return {};
}

Result<> ChangePriority(shm::LimitsContent& content, const std::string& priority) {
  if (priority.empty()) return {};
  std::uint64_t number = 0;
  if (!shm::ParseNumber(priority.c_str(), 1, &number)) return Fail(Code::kInvalid, "--priority {}: 0 or 1", priority);
  content.priority = static_cast<std::uint32_t>(number);
  return {};
}

Result<> Change(shm::LimitsContent& content, const Arguments& arguments) {
  if (auto done = ChangePolicy(content, arguments.policy); !done) return done;
  if (auto done = ChangePriority(content, arguments.priority); !done) return done;
  for (const std::string& device : arguments.devices) {
    if (auto done = ChangeDevice(content, device); !done) return done;
  }
  if (const char* const fault = shm::FaultIn(content)) return Fail(Code::kInvalid, "{}", fault);
  return {};
}

int Refuse(std::ostream& err, const std::string& file, shm::Fault fault) {
  err << "partage-limits: cannot use " << file << ": " << shm::Describe(fault) << "\n";
  return 1;
}

std::string JsonOf(const shm::LimitsContent& content) {
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  for (unsigned i = 0; i < content.devices; ++i) {
    const shm::DeviceLimits& device = content.device[i];
    nlohmann::ordered_json row = {{"uuid", device.uuid}, {"memoryBytes", nullptr}, {"coresPercent", nullptr}};
    if (device.memory_bytes != shm::kNoLimit) row["memoryBytes"] = device.memory_bytes;
    if (device.cores_percent != 0) row["coresPercent"] = device.cores_percent;
    row["soft"] = (device.flags & shm::kSoftCores) != 0;
    row["oversubscribe"] = (device.flags & shm::kOversubscribe) != 0;
    devices.push_back(std::move(row));
  }
  const nlohmann::ordered_json all = {
      {"policy", kPolicies[static_cast<unsigned>(content.policy)]}, {"priority", content.priority}, {"devices", std::move(devices)}};
  return all.dump(2) + "\n";
}

}  // namespace

Result<> ChangeDevice(shm::LimitsContent& content, std::string_view text) {
  std::istringstream parts{std::string(text)};
  std::string part;
  std::getline(parts, part, ',');
  unsigned char bytes[16];
  if (!shm::ParseUuid(part.c_str(), bytes)) return Fail(Code::kInvalid, "--device {}: \"{}\" is not a UUID", text, part);
  shm::LimitsContent changed = content;
  shm::DeviceLimits* const device = FindOrAdd(changed, part);
  if (device == nullptr) return Fail(Code::kInvalid, "--device {}: there are {} devices already", text, shm::kMaxDevices);
  while (std::getline(parts, part, ',')) {
    if (auto done = Set(*device, part); !done) return Fail(Code::kInvalid, "--device {}: {}", text, done.error().message);
  }
  content = changed;
  return {};
}

std::string RenderLimits(const shm::LimitsContent& content, bool json) {
  if (json) return JsonOf(content);
  std::string text = fmt::format("policy {}, priority {}\n", kPolicies[static_cast<unsigned>(content.policy)], content.priority);
  for (unsigned i = 0; i < content.devices; ++i) {
    const shm::DeviceLimits& device = content.device[i];
    const bool all = device.memory_bytes == shm::kNoLimit;
    text += fmt::format("{} memory={} cores={}{}{}\n", device.uuid, all ? "none" : fmt::format("{}", device.memory_bytes),
                        device.cores_percent == 0 ? "none" : fmt::format("{}", device.cores_percent),
                        (device.flags & shm::kSoftCores) != 0 ? " soft" : "",
                        (device.flags & shm::kOversubscribe) != 0 ? " oversubscribe" : "");
  }
  return text;
}

int RunLimits(std::vector<std::string> words, std::ostream& out, std::ostream& err) {
  Arguments arguments;
  const auto wrong = [&err](const Error& error) {
    err << "partage-limits: " << error.message << "\nTry partage-limits --help\n";
    return 2;
  };
  if (auto parsed = Parse(std::move(words), arguments); !parsed) return wrong(parsed.error());
  if (arguments.help) {
    out << kManual;
    return 0;
  }
  shm::LimitsContent content;
  const shm::Fault found = ReadLimitsFile(arguments.file, content);
  const bool is_new = found == shm::Fault::kMissing && arguments.IsChange();
  if (found != shm::Fault::kNone && !is_new) return Refuse(err, arguments.file, found);
  if (!arguments.IsChange()) {
    out << RenderLimits(content, arguments.json);
    return 0;
  }
  if (arguments.replace) content = {};
  if (auto changed = Change(content, arguments); !changed) return wrong(changed.error());
  const shm::Fault written = shm::WriteLimits(arguments.file.c_str(), content);
  return written == shm::Fault::kNone ? 0 : Refuse(err, arguments.file, written);
}

}  // namespace partage::app
