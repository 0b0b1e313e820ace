// SPDX-License-Identifier: Apache-2.0
#include "main/config_file.h"

#include <algorithm>
#include <set>

#include "base/text_file.h"
#include "base/yaml.h"
#include "main/nearest.h"

namespace partage::app {
namespace {

std::vector<std::string_view> KeysOf(const std::vector<IgnoredKey>& ignored) {
  std::vector<std::string_view> keys;
  for (const IgnoredKey& entry : ignored) keys.push_back(entry.key);
  return keys;
}

const IgnoredKey* Find(const std::vector<IgnoredKey>& ignored, std::string_view key) {
  const auto found = std::find_if(ignored.begin(), ignored.end(), [&](const IgnoredKey& entry) { return entry.key == key; });
  return found == ignored.end() ? nullptr : &*found;
}

template <class T>
void Append(std::vector<T>& to, const std::vector<T>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// A scalar's text, or the members of a sequence of scalars joined by commas.
Result<std::string> ScalarText(const YAML::Node& value) {
  if (value.IsScalar()) return value.Scalar();
  if (value.IsNull()) return Fail(Code::kInvalid, "has no value; give one or remove the line");
  if (!value.IsSequence()) return Fail(Code::kInvalid, "is a section; a single value belongs here");
  std::string joined;
  for (const YAML::Node& member : value) {
    if (!member.IsScalar()) return Fail(Code::kInvalid, "holds a list inside a list; single values belong here");
    joined += (joined.empty() ? "" : ",") + member.Scalar();
  }
  return joined;
}

/// Reads one file into one config; collects what it ignores.
class Reader {
 public:
  Reader(const std::string& file, SchedulerConfig& config) : file_(file), config_(config) {}

  Result<> ReadRoot(const YAML::Node& root) {
    if (root.IsNull()) return {};
    if (!root.IsMap()) return Fail(Code::kInvalid, "{}: is not a map of settings (key: value)", Place(root));
    return ForEachKey(root, "",
                      [&](const std::string& key, const YAML::Node& at, const YAML::Node& value) { return ReadTop(key, at, value); });
  }

  std::vector<std::string> TakeIgnored() { return std::move(ignored_); }

 private:
  std::string Place(const YAML::Node& node) const { return fmt::format("{}:{}", file_, node.Mark().line + 1); }

  template <class Read>
  Result<> ForEachKey(const YAML::Node& map, const std::string& path, const Read& read) {
    std::set<std::string> seen;
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) return Fail(Code::kInvalid, "{}: a key is not a word", Place(entry.first));
      const std::string& key = entry.first.Scalar();
      if (!seen.insert(key).second) return Fail(Code::kInvalid, "{}: {}{}: is given twice; remove one", Place(entry.first), path, key);
      if (auto done = read(key, entry.first, entry.second); !done) return done;
    }
    return {};
  }

  Result<> ReadTop(const std::string& key, const YAML::Node& at, const YAML::Node& value) {
    if (const auto* setting = FindSetting(SchedulerSettings(), key)) return Set(*setting, config_, key, at, value);
    if (const auto* vendor = config_.vendors.Find(key)) return ReadVendor(*vendor, at, value);
    if (Ignore(IgnoredSections(), key, key)) return {};
    return Unknown(key, "", at, TopKeys());
  }

  std::vector<std::string_view> TopKeys() const {
    std::vector<std::string_view> keys = Keys(SchedulerSettings());
    for (const auto& vendor : config_.vendors.vendors()) keys.push_back(vendor.name);
    Append(keys, KeysOf(IgnoredSections()));
    return keys;
  }

  Result<> ReadVendor(vendors::Vendor vendor, const YAML::Node& at, const YAML::Node& section) {
    if (section.IsNull()) return {};
    if (!section.IsMap()) return Fail(Code::kInvalid, "{}: {}: is not a section of settings", Place(at), vendor.name);
    const std::string path = vendor.name + ".";
    auto read = ForEachKey(section, path, [&](const std::string& key, const YAML::Node& key_at, const YAML::Node& value) -> Result<> {
      if (const auto* setting = FindSetting(VendorSettings(), key)) return Set(*setting, vendor, path + key, key_at, value);
      if (Ignore(IgnoredVendorKeys(), key, path + key)) return {};
      auto known = Keys(VendorSettings());
      Append(known, KeysOf(IgnoredVendorKeys()));
      return Unknown(key, path, key_at, known);
    });
    if (!read) return read;
    auto replaced = config_.vendors.Replace(std::move(vendor));
    if (!replaced) return Fail(replaced.error(), Place(at));
    return {};
  }

  template <class Target>
  Result<> Set(const Setting<Target>& setting, Target& target, const std::string& path, const YAML::Node& at, const YAML::Node& value) {
    const auto text = ScalarText(value);
    const Result<> done = text ? setting.set(target, *text) : Result<>(Fail(text.error()));
    if (!done) return Fail(done.error(), fmt::format("{}: {}", Place(at), path));
    return {};
  }

  bool Ignore(const std::vector<IgnoredKey>& list, std::string_view key, const std::string& path) {
    const IgnoredKey* entry = Find(list, key);
    if (entry != nullptr) ignored_.push_back(fmt::format("{} ({})", path, entry->why));
    return entry != nullptr;
  }

  Result<> Unknown(const std::string& key, const std::string& path, const YAML::Node& at, const std::vector<std::string_view>& known) {
    return Fail(Code::kInvalid, "{}: {}{}: is not a known setting{}", Place(at), path, key, DidYouMean(key, known));
  }

  const std::string& file_;
  SchedulerConfig& config_;
  std::vector<std::string> ignored_;
};

}  // namespace

Result<std::vector<std::string>> ApplyConfigText(std::string_view text, const std::string& file, SchedulerConfig& config) {
  const auto yaml = LoadYaml(text, file);
  if (!yaml) return Fail(yaml.error());
  try {
    SchedulerConfig changed = config;
    Reader reader(file, changed);
    if (auto read = reader.ReadRoot(*yaml); !read) return Fail(read.error());
    config = std::move(changed);
    return reader.TakeIgnored();
  } catch (const YAML::Exception& error) {
    return Fail(Code::kInvalid, "{}:{}: {}", file, error.mark.line + 1, error.msg);
  }
}

Result<std::vector<std::string>> ApplyConfigFile(const std::string& file, SchedulerConfig& config) {
  const auto text = ReadTextFile(file);
  if (!text) return Fail(text.error());
  return ApplyConfigText(*text, file, config);
}

}  // namespace partage::app
