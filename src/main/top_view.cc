// SPDX-License-Identifier: Apache-2.0
#include "main/top_view.h"

#include <algorithm>
#include <ostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/text_table.h"
#include "main/shm_tool.h"

namespace partage::app {
namespace {

using cli::Tone;

constexpr const char* kManual = R"(NAME
  partage-top - show what the processes of a container use of its GPUs

SYNOPSIS
  partage-top FILE [--limits FILE] [--json]

DESCRIPTION
  FILE is the usage file that libpartage.so keeps in the container. Every device that is used or
  limited is shown with the memory its processes hold together, then every process with what it
  holds by kind. Nothing is changed: memory of dead processes that nobody has swept yet is shown
  as "gone". A damaged file, or one of another version, is refused.

OPTIONS
  --limits FILE
        The container's limits file: adds limits and UUIDs.
  --json
        Everything as JSON, amounts in bytes.
  --help
        This text.

EXIT STATUS
  0 done; 1 a file was refused, the reason is on standard error; 2 wrong arguments.

SEE ALSO
  partage-limits; docs/region.md
)";

constexpr const char* kClassNames[] = {"context", "module", "linear", "pool", "vmm", "array", "managed", "graph", "ipc"};
static_assert(std::size(kClassNames) == shm::kMemoryClasses);

constexpr std::size_t kBarWidth = 20;

std::string Human(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  unsigned unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return value == static_cast<double>(static_cast<std::uint64_t>(value)) ? fmt::format("{:.0f} {}", value, kUnits[unit])
                                                                         : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::uint64_t Sum(const std::uint64_t (&held)[shm::kMemoryClasses]) {
  std::uint64_t sum = 0;
  for (const std::uint64_t bytes : held) sum += bytes;
  return sum;
}

const shm::DeviceLimits* LimitsOf(const TopView& view, unsigned device) {
  return view.limits && device < view.limits->devices ? &view.limits->device[device] : nullptr;
}

bool IsShown(const TopView& view, unsigned device) {
  return LimitsOf(view, device) != nullptr || view.used[device] != 0 || view.refused[device] != 0;
}

ProcessView LookAt(const shm::Region& region, unsigned slot, std::uint64_t owner) {
  ProcessView process;
  process.slot = slot;
  process.pid = shm::PidOf(owner);
  process.host_pid = region.layout().slots[slot].host_pid.load();
  process.gone = region.IsOwnerGone(slot);
  for (unsigned device = 0; device < shm::kMaxDevices; ++device) {
    process.gpu_ns[device] = region.layout().slots[slot].gpu_ns[device].load();
    for (unsigned c = 0; c < shm::kMemoryClasses; ++c)
      process.held[device][c] = region.UsedBy(slot, device, static_cast<shm::MemoryClass>(c));
  }
  return process;
}

void AddDevice(cli::TextTable& table, const TopView& view, unsigned device) {
  const shm::DeviceLimits* const limits = LimitsOf(view, device);
  const bool limited = limits != nullptr && limits->memory_bytes != shm::kNoLimit;
  const auto used = static_cast<std::int64_t>(view.used[device]);
  const auto limit = limited ? static_cast<std::int64_t>(limits->memory_bytes) : 0;
  table.Add({{fmt::format("{}", device), Tone::kStrong},
             {limits == nullptr ? "-" : limits->uuid},
             {Human(view.used[device])},
             {limited ? Human(limits->memory_bytes) : "-"},
             {limited ? cli::Bar(std::min(used, limit), limit, kBarWidth) : "", limited ? cli::Load(used, limit) : Tone::kPlain},
             {limits == nullptr || limits->cores_percent == 0 ? "-" : fmt::format("{} %", limits->cores_percent)},
             {fmt::format("{}", view.refused[device])}});
}

std::string Kinds(const std::uint64_t (&held)[shm::kMemoryClasses]) {
  std::vector<std::string> kinds;
  for (unsigned c = 0; c < shm::kMemoryClasses; ++c) {
    if (held[c] != 0) kinds.push_back(fmt::format("{} {}", kClassNames[c], Human(held[c])));
  }
  return fmt::format("{}", fmt::join(kinds, ", "));
}

void AddProcess(cli::TextTable& table, const ProcessView& process) {
  std::string pid = fmt::format("{}", process.pid);
  const std::string host_pid = process.host_pid == 0 ? "-" : fmt::format("{}", process.host_pid);
  const auto add = [&](const std::string& device, const std::string& used, const std::string& kinds, const std::string& gpu) {
    table.Add({{pid, process.gone ? Tone::kBad : Tone::kStrong},
               {host_pid},
               {process.gone ? "gone" : "", Tone::kBad},
               {device},
               {used},
               {gpu},
               {kinds, Tone::kDim}});
  };
  bool holds = false;
  for (unsigned device = 0; device < shm::kMaxDevices; ++device) {
    const std::uint64_t used = Sum(process.held[device]);
    if (used == 0 && process.gpu_ns[device] == 0) continue;
    add(fmt::format("{}", device), Human(used), Kinds(process.held[device]),
        fmt::format("{:.1f} s", static_cast<double>(process.gpu_ns[device]) / 1e9));
    holds = true;
  }
  if (!holds) add("-", "0 B", "", "0.0 s");
}

nlohmann::ordered_json JsonOf(const TopView& view, unsigned device) {
  nlohmann::ordered_json row = {{"device", device}, {"usedBytes", view.used[device]}, {"refused", view.refused[device]}};
  if (const shm::DeviceLimits* const limits = LimitsOf(view, device)) {
    row["uuid"] = limits->uuid;
    row["limitBytes"] = nullptr;
    row["coresPercent"] = nullptr;
    if (limits->memory_bytes != shm::kNoLimit) row["limitBytes"] = limits->memory_bytes;
    if (limits->cores_percent != 0) row["coresPercent"] = limits->cores_percent;
  }
  return row;
}

nlohmann::ordered_json JsonOf(const ProcessView& process) {
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  for (unsigned device = 0; device < shm::kMaxDevices; ++device) {
    const std::uint64_t used = Sum(process.held[device]);
    if (used == 0 && process.gpu_ns[device] == 0) continue;
    nlohmann::ordered_json row = {{"device", device}, {"usedBytes", used}, {"gpuNs", process.gpu_ns[device]}};
    for (unsigned c = 0; c < shm::kMemoryClasses; ++c) row["bytes"][kClassNames[c]] = process.held[device][c];
    devices.push_back(std::move(row));
  }
  return {
      {"slot", process.slot}, {"pid", process.pid}, {"hostPid", process.host_pid}, {"gone", process.gone}, {"devices", std::move(devices)}};
}

struct Arguments {
  std::string file, limits;
  bool json = false, help = false;
};

Result<> Parse(std::vector<std::string> words, Arguments& arguments) {
  CLI::App app;
  app.add_option("FILE", arguments.file);
  app.add_option("--limits", arguments.limits);
  app.add_flag("--json", arguments.json);
  if (auto parsed = ParseWords(app, std::move(words), arguments.help); !parsed) return parsed;
  if (arguments.file.empty() && !arguments.help) return Fail(Code::kInvalid, "FILE is missing");
  return {};
}

int Refuse(std::ostream& err, const std::string& file, shm::Fault fault) {
  err << "partage-top: cannot use " << file << ": " << shm::Describe(fault) << "\n";
  return 1;
}

int Show(const Arguments& arguments, std::ostream& out, std::ostream& err) {
  shm::Region region;
  if (const shm::Fault fault = region.OpenReadOnly(arguments.file.c_str()); fault != shm::Fault::kNone)
    return Refuse(err, arguments.file, fault);
  std::optional<shm::LimitsContent> limits;
  if (!arguments.limits.empty()) {
    const shm::Fault fault = ReadLimitsFile(arguments.limits, limits.emplace());
    if (fault != shm::Fault::kNone) return Refuse(err, arguments.limits, fault);
  }
  const TopView view = Look(region, limits);
  out << (arguments.json ? RenderTopJson(view) : RenderTop(view));
  return 0;
}

}  // namespace

TopView Look(const shm::Region& region, const std::optional<shm::LimitsContent>& limits) {
  TopView view;
  view.limits = limits;
  view.settled = region.layout().header.settled.load();
  for (unsigned device = 0; device < shm::kMaxDevices; ++device) {
    view.used[device] = region.Used(device);
    view.refused[device] = region.layout().devices[device].refused.load();
  }
  for (unsigned slot = 0; slot < shm::kMaxProcesses; ++slot) {
    if (const std::uint64_t owner = region.layout().owners[slot].load()) view.processes.push_back(LookAt(region, slot, owner));
  }
  return view;
}

std::string RenderTop(const TopView& view) {
  cli::TextTable devices({">DEVICE", "UUID", ">USED", ">LIMIT", "", ">CORES", ">REFUSED"});
  for (unsigned device = 0; device < shm::kMaxDevices; ++device) {
    if (IsShown(view, device)) AddDevice(devices, view, device);
  }
  cli::TextTable processes({">PID", ">HOST PID", "", ">DEVICE", ">USED", ">GPU TIME", "OF WHICH"});
  for (const ProcessView& process : view.processes) AddProcess(processes, process);
  const cli::Painter painter = cli::StdoutPainter();
  return devices.Render(painter) + "\n" + processes.Render(painter);
}

std::string RenderTopJson(const TopView& view) {
  nlohmann::ordered_json all = {
      {"devices", nlohmann::ordered_json::array()}, {"processes", nlohmann::ordered_json::array()}, {"settled", view.settled}};
  for (unsigned device = 0; device < shm::kMaxDevices; ++device) {
    if (IsShown(view, device)) all["devices"].push_back(JsonOf(view, device));
  }
  for (const ProcessView& process : view.processes) all["processes"].push_back(JsonOf(process));
  return all.dump(2) + "\n";
}

int RunTop(std::vector<std::string> words, std::ostream& out, std::ostream& err) {
  Arguments arguments;
  if (auto parsed = Parse(std::move(words), arguments); !parsed) {
    err << "partage-top: " << parsed.error().message << "\nTry partage-top --help\n";
    return 2;
  }
  if (arguments.help) {
    out << kManual;
    return 0;
  }
  return Show(arguments, out, err);
}

}  // namespace partage::app
