// SPDX-License-Identifier: Apache-2.0
#include "scheduler/webhook/inventory_check.h"

#include <algorithm>
#include <set>

#include <fmt/ranges.h>

#include "base/text.h"

namespace partage::scheduler {
namespace {

constexpr std::size_t kModelsNamed = 4;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool Contains(std::string_view text, std::string_view part) {
  const auto same = [](char a, char b) { return Lower(a) == Lower(b); };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

bool IsHex(char c) { return (c >= '0' && c <= '9') || (Lower(c) >= 'a' && Lower(c) <= 'f'); }

bool HasForm(std::string_view uuid, std::string_view form) {
  return std::equal(uuid.begin(), uuid.end(), form.begin(), form.end(), [](char c, char f) { return f == 'x' ? IsHex(c) : c == f; });
}

/// The UUID with what a form has in front of its digits, when that makes it one.
std::string Completed(std::string_view uuid, const std::vector<std::string>& forms) {
  for (const auto& form : forms) {
    const auto completed = form.substr(0, form.find('x')) + std::string(uuid);
    if (HasForm(completed, form)) return completed;
  }
  return "";
}

/// The forms of all vendors the pod asks; none when one of them has no known form.
std::vector<std::string> FormsFor(const device::PodRequest& request, const vendors::Catalog& vendors) {
  std::vector<std::string> forms;
  for (const auto& container : request.containers) {
    for (const auto& wanted : container.devices) {
      const auto& known = vendors.Find(wanted.vendor)->uuid_forms;
      if (known.empty()) return {};
      forms.insert(forms.end(), known.begin(), known.end());
    }
  }
  return forms;
}

/// "NVIDIA A10, NVIDIA L4 and 3 more"
std::string Listed(const std::vector<std::string>& models) {
  const auto named = std::min(models.size(), kModelsNamed);
  auto text = fmt::format("{}", fmt::join(models.begin(), models.begin() + static_cast<std::ptrdiff_t>(named), ", "));
  return models.size() > named ? fmt::format("{} and {} more", text, models.size() - named) : text;
}

class NameWarnings {
 public:
  explicit NameWarnings(const KnownDevices& known) : known_(known) {}

  void OfUuids(std::string_view annotation, const std::vector<std::string>& uuids) {
    for (const auto& uuid : uuids) {
      if (!known_.HasUuid(uuid)) Add("{}: no node of the cluster has a device {}", annotation, Quoted(uuid));
    }
  }
  void OfModels(std::string_view annotation, const std::vector<std::string>& words, bool wanted) {
    for (const auto& word : words) {
      const auto models = known_.ModelsWith(word);
      if (models.empty())
        Add("{}: no device of the cluster is of type {}; there are {}", annotation, Quoted(word), Listed(known_.ModelsWith("")));
      if (wanted && models.size() > 1) Add("{}: {} stands for {}", annotation, Quoted(word), Listed(models));
    }
  }
  std::vector<std::string> Take() && { return std::move(warnings_); }

 private:
  template <class... Args>
  void Add(fmt::format_string<Args...> format, Args&&... args) {
    warnings_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  const KnownDevices& known_;
  std::vector<std::string> warnings_;
};

}  // namespace

bool KnownDevices::HasUuid(std::string_view uuid) const {
  const auto has = [&](const std::shared_ptr<const NodeInfo>& node) { return node != nullptr && node->inventory.Find(uuid) >= 0; };
  return std::any_of(snapshot_.blocks.begin(), snapshot_.blocks.end(),
                     [&](const auto& block) { return std::any_of(block->infos->begin(), block->infos->end(), has); });
}

std::vector<std::string> KnownDevices::ModelsWith(std::string_view word) const {
  std::set<std::string> models;
  for (const auto& kind : *snapshot_.kinds) {
    if (Contains(kind.model, word)) models.insert(kind.model);
  }
  return {models.begin(), models.end()};
}

Result<> CheckUuids(const device::PodRequest& request, const vendors::Catalog& vendors, const KnownDevices& known) {
  const auto forms = FormsFor(request, vendors);
  if (forms.empty()) return {};
  for (const auto* uuids : {&request.constraints.use_uuids, &request.constraints.nouse_uuids}) {
    for (const auto& uuid : *uuids) {
      const bool formed = std::any_of(forms.begin(), forms.end(), [&](const auto& form) { return HasForm(uuid, form); });
      if (formed || known.HasUuid(uuid)) continue;
      const auto meant = Completed(uuid, forms);
      return Fail(Code::kInvalid, "annotation {}: {} is not a UUID like {}{}; several are separated by commas",
                  uuids == &request.constraints.use_uuids ? "use-gpuuuid" : "nouse-gpuuuid", Quoted(uuid), forms.front(),
                  meant.empty() ? "" : fmt::format(", did you mean {}?", meant));
    }
  }
  return {};
}

std::vector<std::string> WarnOfNames(const device::DeviceConstraints& constraints, const KnownDevices& known) {
  NameWarnings warnings(known);
  warnings.OfUuids("use-gpuuuid", constraints.use_uuids);
  warnings.OfUuids("nouse-gpuuuid", constraints.nouse_uuids);
  warnings.OfModels("use-gputype", constraints.use_models, true);
  warnings.OfModels("nouse-gputype", constraints.nouse_models, false);
  return std::move(warnings).Take();
}

}  // namespace partage::scheduler
