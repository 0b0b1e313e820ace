// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <limits>
#include <map>

#include <fmt/ranges.h>

#include "base/problem.h"
#include "base/text.h"
#include "base/yaml.h"
#include "vendors/vendor.h"

namespace partage::vendors {
namespace {

constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();

/// What reads a member: its value, and the member's full name for messages.
using Reader = std::function<void(const YAML::Node& value, const std::string& where)>;
using Members = std::map<std::string, Reader, std::less<>>;

std::string Names(const Members& members) {
  std::vector<std::string_view> names;
  for (const auto& [name, reader] : members) names.push_back(name);
  return fmt::format("{}", fmt::join(names, ", "));
}

/// Reads one vendor document. Throws what yaml-cpp throws.
class VendorReader {
 public:
  explicit VendorReader(Problem& problem) : problem_(problem) {}

  Vendor Read(const YAML::Node& document) {
    Vendor v;
    const Members resources{{"count", Text(v.count_resource)},
                            {"memory", Text(v.memory_resource)},
                            {"percent", Text(v.percent_resource)},
                            {"cores", Text(v.cores_resource)},
                            {"priority", Text(v.priority_resource)}};
    const Members hami{{"register", Text(v.hami_register)},
                       {"score", Text(v.hami_score)},
                       {"cordon", Text(v.hami_cordon)},
                       {"toAllocate", Text(v.hami_to_allocate)},
                       {"allocated", Text(v.hami_allocated)}};
    const Members defaults{{"count", Number(v.default_count)},
                           {"memoryMiB", Number(v.default_mib)},
                           {"cores", Number(v.default_cores)},
                           {"memoryFactor", Number(v.memory_factor)}};
    const Members members{{"name", Text(v.name)},
                          {"word", Text(v.word)},
                          {"resources", Map(resources)},
                          {"hami", Map(hami)},
                          {"defaults", Map(defaults)},
                          {"annotationPrefix", Text(v.annotation_prefix)},
                          {"uuidForms", Texts(v.uuid_forms)},
                          {"examples", List()}};
    Map(members)(document, "vendor");
    return v;
  }

 private:
  Reader Text(std::string& out) {
    return [this, &out](const YAML::Node& value, const std::string& where) {
      if (!value.IsScalar()) return problem_.Report("{} must be a text", where);
      out = value.Scalar();
    };
  }

  Reader Number(std::int32_t& out) {
    return [this, &out](const YAML::Node& value, const std::string& where) {
      std::int64_t number = 0;
      const bool whole = value.IsScalar() && YAML::convert<std::int64_t>::decode(value, number);
      if (!whole || number < 0 || number > kMaxInt32) {
        return problem_.Report("{} must be a whole number from 0 to {}, not {}", where, kMaxInt32,
                               value.IsScalar() ? Quoted(value.Scalar()) : "a collection");
      }
      out = static_cast<std::int32_t>(number);
    };
  }

  Reader Texts(std::vector<std::string>& out) {
    return [this, &out](const YAML::Node& value, const std::string& where) {
      if (!value.IsSequence()) return problem_.Report("{} must be a list", where);
      for (const auto& member : value) {
        if (!member.IsScalar()) return problem_.Report("{} must be a list of texts", where);
        out.push_back(member.Scalar());
      }
    };
  }

  Reader List() {
    return [this](const YAML::Node& value, const std::string& where) {
      if (!value.IsSequence()) problem_.Report("{} must be a list", where);
    };
  }

  Reader Map(const Members& members) {
    return [this, &members](const YAML::Node& value, const std::string& where) {
      if (!value.IsMap()) return problem_.Report("{} must be a map", where);
      for (const auto& member : value) {
        const auto name = member.first.IsScalar() ? member.first.Scalar() : std::string();
        const auto known = members.find(name);
        if (known == members.end())
          return problem_.Report("{} has an unknown member {}; known are {}", where, Quoted(name), Names(members));
        known->second(member.second, fmt::format("{}.{}", where, name));
      }
    };
  }

  Problem& problem_;
};

}  // namespace

Result<Vendor> ParseVendor(const std::string& document) try {
  const auto yaml = LoadYaml(document, "vendor document");
  if (!yaml) return Fail(yaml.error());
  Problem problem;
  auto vendor = VendorReader(problem).Read(*yaml);
  if (problem.any()) return Fail(problem.error());
  return vendor;
} catch (const YAML::Exception& error) {
  return Fail(Code::kInvalid, "vendor document: {}", error.what());
}

}  // namespace partage::vendors
