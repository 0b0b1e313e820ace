// SPDX-License-Identifier: Apache-2.0
#include "base/yaml.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <yaml-cpp/eventhandler.h>

namespace partage {
namespace {

/// What is YAML, and yet not taken.
class Refusal : public YAML::ParserException {
 public:
  using ParserException::ParserException;
};

/// Hears of a text piece by piece, before anything is built from it. Throws Refusal at the first piece that is too much.
class BoundsCheck final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& at) override {
    // After a bracket too many, yaml-cpp finds empty documents at the same place for ever.
    if (at.pos <= document_) throw YAML::ParserException(at, "a bracket or comma does not belong here");
    document_ = at.pos;
    anchored_.clear();
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& at, YAML::anchor_t anchor) override { AddLeaf(at, anchor); }
  void OnScalar(const YAML::Mark& at, const std::string&, YAML::anchor_t anchor, const std::string&) override { AddLeaf(at, anchor); }
  void OnAlias(const YAML::Mark& at, YAML::anchor_t anchor) override {
    const auto extent = anchored_.find(anchor);
    if (extent == anchored_.end()) throw Refusal(at, "an alias cannot stand in what it stands for");
    Add(at, extent->second);
  }
  void OnSequenceStart(const YAML::Mark& at, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    Open(at, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& at, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { Open(at, anchor); }
  void OnMapEnd() override { Close(); }

 private:
  struct Extent {
    std::int64_t values = 1;
    std::size_t height = 0;  ///< levels of lists and maps
  };
  struct Collection {
    YAML::anchor_t anchor;
    std::int64_t values_before;
    std::size_t height = 1;
  };

  void Add(const YAML::Mark& at, const Extent& extent) {
    if (open_.size() + extent.height > kMostYamlDepth) throw Refusal(at, fmt::format("is nested more than {} deep", kMostYamlDepth));
    if (extent.values > kMostYamlValues - values_)
      throw Refusal(at, fmt::format("more than {} values, aliases followed; use several files", kMostYamlValues));
    values_ += extent.values;
    if (!open_.empty()) open_.back().height = std::max(open_.back().height, extent.height + 1);
  }
  void AddLeaf(const YAML::Mark& at, YAML::anchor_t anchor) {
    Add(at, {});
    if (anchor != 0) anchored_[anchor] = {};
  }
  void Open(const YAML::Mark& at, YAML::anchor_t anchor) {
    const auto before = values_;
    Add(at, {.values = 1, .height = 1});
    open_.push_back({anchor, before});
  }
  void Close() {
    const Collection closed = open_.back();
    open_.pop_back();
    if (!open_.empty()) open_.back().height = std::max(open_.back().height, closed.height + 1);
    if (closed.anchor != 0) anchored_[closed.anchor] = {values_ - closed.values_before, closed.height};
  }

  int document_ = -1;
  std::int64_t values_ = 0;
  std::vector<Collection> open_;
  std::map<YAML::anchor_t, Extent> anchored_;  ///< of this document, without those still open
};

bool HasBracketBomb(std::string_view text) {
  int open = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') ++open;
    if ((c == ']' || c == '}') && open > 0) --open;
    if (open > kMostOpenBrackets) return true;
  }
  return false;
}

/// Throws what yaml-cpp throws, and Refusal. Whatever follows the first document is not looked at unless `all`.
void CheckBounds(const std::string& text, bool all) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  BoundsCheck check;
  while (parser.HandleNextDocument(check) && all) {
  }
}

template <class Build>
auto Load(std::string_view view, const std::string& file, bool all, const Build& build) -> Result<decltype(build(std::string()))> {
  if (view.size() > kMostYamlBytes) return Fail(Code::kInvalid, "{}: is over {} bytes", file, kMostYamlBytes);
  if (HasBracketBomb(view)) return Fail(Code::kInvalid, "{}: more than {} brackets are open at once", file, kMostOpenBrackets);
  const std::string text(view);
  try {
    CheckBounds(text, all);
    return build(text);
  } catch (const Refusal& error) {
    return Fail(Code::kInvalid, "{}:{}: {}", file, error.mark.line + 1, error.msg);
  } catch (const YAML::Exception& error) {
    return Fail(Code::kInvalid, "{}:{}: is not YAML: {}", file, error.mark.line + 1, error.msg);
  }
}

}  // namespace

Result<YAML::Node> LoadYaml(std::string_view text, const std::string& file) {
  return Load(text, file, false, [](const std::string& checked) { return YAML::Load(checked); });
}

Result<std::vector<YAML::Node>> LoadYamlDocuments(std::string_view text, const std::string& file) {
  return Load(text, file, true, [](const std::string& checked) { return YAML::LoadAll(checked); });
}

}  // namespace partage
