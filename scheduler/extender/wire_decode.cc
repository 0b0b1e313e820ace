// SPDX-License-Identifier: Apache-2.0
// simdjson on-demand over the top level, so that the thousands of names cost one pass; the Pod and whole Nodes, which are small and echoed or looked into
// at will, by its DOM parser, which checks every byte of them.
#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include <simdjson.h>

#include "http/server.h"
#include "k8s/api/decode.h"
#include "scheduler/extender/wire.h"
#include "scheduler/state/name_list.h"

namespace partage::scheduler {
namespace {

namespace ondemand = simdjson::ondemand;

static_assert(http::kBodyPadding >= simdjson::SIMDJSON_PADDING, "bodies are parsed in place");

// A parser that has read a larger body than this is not kept: its tables take several times the body's size.
constexpr std::size_t kKeptBody = 4u << 20;

using Handler = std::function<Result<>(std::string_view key, ondemand::value& value)>;

tl::unexpected<Error> Fault(simdjson::error_code error, std::string_view what) {
  return Fail(Code::kInvalid, "{}: {}", what, simdjson::error_message(error));
}

// The first byte at which a decoder of UTF-8 gives up, give or take the length of one character.
std::size_t FirstBadUtf8(std::string_view text) {
  const auto sound = [&](std::size_t size) {
    for (std::size_t cut = 0; cut < 4 && cut <= size; ++cut) {
      if (simdjson::validate_utf8(text.data(), size - cut)) return true;
    }
    return false;
  };
  std::size_t good = 0;
  std::size_t bad = text.size();
  while (bad - good > 1) {
    const std::size_t middle = good + (bad - good) / 2;
    (sound(middle) ? good : bad) = middle;
  }
  return good;
}

// Faults the parser finds before it has looked at any member.
tl::unexpected<Error> StructureFault(simdjson::error_code error, std::string_view body) {
  switch (error) {
    case simdjson::UTF8_ERROR: return Fail(Code::kInvalid, "body: not UTF-8 near byte {} of {}", FirstBadUtf8(body), body.size());
    case simdjson::UNCLOSED_STRING: return Fail(Code::kInvalid, "body: ends inside a string after {} bytes", body.size());
    case simdjson::EMPTY: return Fail(Code::kInvalid, "body: empty, expected a JSON object");
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
      return Fail(Code::kInvalid, "body: does not end with the object's closing brace ({} bytes)", body.size());
    default: return Fault(error, "body");
  }
}

// Adds the byte offset that on-demand parsing has reached.
Error At(ondemand::document& document, std::string_view body, const Error& error) {
  const char* location = nullptr;
  if (document.current_location().get(location) != simdjson::SUCCESS || location < body.data() || location > body.data() + body.size()) {
    return {error.code, fmt::format("{} (at the end of the body)", error.message)};
  }
  return {error.code, fmt::format("{} (at byte {})", error.message, location - body.data())};
}

Result<> VisitMembers(ondemand::object& object, const Handler& handle) {
  for (auto member : object) {
    ondemand::field field;
    if (const auto error = std::move(member).get(field)) return Fault(error, "member");
    std::string_view key;
    if (const auto error = field.unescaped_key().get(key)) return Fault(error, "name of a member");
    if (auto handled = handle(key, field.value()); !handled) return handled;
  }
  return {};
}

// Calls `handle` for each member of the body's one object.
Result<> ReadObject(ondemand::parser& parser, std::string_view body, const Handler& handle) {
  ondemand::document document;
  const simdjson::padded_string_view padded(body.data(), body.size(), body.size() + http::kBodyPadding);
  if (const auto error = parser.iterate(padded).get(document)) return StructureFault(error, body);
  ondemand::object object;
  if (const auto error = document.get_object().get(object)) {
    return error == simdjson::INCORRECT_TYPE ? Fail(Code::kInvalid, "body: not a JSON object") : StructureFault(error, body);
  }
  if (auto visited = VisitMembers(object, handle); !visited) return tl::unexpected(At(document, body, visited.error()));
  const char* rest = nullptr;
  if (document.current_location().get(rest) != simdjson::OUT_OF_BOUNDS) {
    return tl::unexpected(At(document, body, {Code::kInvalid, "body: more text after the object"}));
  }
  return {};
}

bool SameLetters(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

// Which members of a message have been seen. Names are Go's.
template <std::size_t N>
class Members {
 public:
  explicit Members(const std::array<std::string_view, N>& names) : names_(names) {}

  // Place of `key` in the names, N when it is none of ours. kInvalid when it was there before.
  Result<std::size_t> Enter(std::string_view key) {
    std::size_t place = 0;
    while (place < N && names_[place] != key) ++place;
    if (place == N) place = FindFolded(key);
    if (place < N && std::exchange(seen_[place], true)) return Fail(Code::kInvalid, "{}: given twice", names_[place]);
    return place;
  }

 private:
  std::size_t FindFolded(std::string_view key) const {
    std::size_t place = 0;
    while (place < N && !SameLetters(names_[place], key)) ++place;
    return place;
  }

  const std::array<std::string_view, N>& names_;
  std::array<bool, N> seen_{};
};

constexpr std::array<std::string_view, 3> kArgsMembers = {"Pod", "Nodes", "NodeNames"};
enum ArgsMember : std::size_t { kPod, kNodes, kNodeNames };

constexpr std::array<std::string_view, 4> kBindMembers = {"PodName", "PodNamespace", "PodUID", "Node"};

// True for null, which Go writes for a member that is not set.
Result<bool> IsNull(ondemand::value& value, std::string_view what) {
  bool null = false;
  if (const auto error = value.is_null().get(null)) return Fault(error, what);
  return null;
}

}  // namespace

class ArgsDecoder::Impl {
 public:
  Result<const ExtenderArgs*> Decode(std::string_view body, std::shared_ptr<const NodeIndex> index) {
    FreeWhatALargeBodyTook(body.size());
    Clear();
    if (index != nullptr && DecodeAsGoWrites(body, std::move(index))) return &args_;
    Clear();
    if (auto read = ReadMembers(body); !read) return Fail(read.error());
    if (!have_pod_) return Fail(Code::kInvalid, "Pod: missing");
    return ChooseCandidates();
  }

 private:
  Result<> ReadMembers(std::string_view body) {
    Members members(kArgsMembers);
    return ReadObject(parser_, body, [&](std::string_view key, ondemand::value& value) -> Result<> {
      const auto member = members.Enter(key);
      if (!member) return Fail(member.error());
      return ReadMember(*member, value);
    });
  }

  // NodeNames is Go's last member and nearly all of the body. Everything before its elements is parsed as the document it would be without them, which tells
  // that they are what they seem; the elements are read by themselves. False for whatever looks otherwise: the parser reads it all and finds the words.
  bool DecodeAsGoWrites(std::string_view body, std::shared_ptr<const NodeIndex> index) {
    constexpr std::string_view kOpen = R"(,"NodeNames":[)";
    constexpr std::string_view kClose = "]}";
    if (body.ends_with('\n')) body.remove_suffix(1);
    const std::size_t open = body.find(kOpen);
    if (open == body.npos || !body.ends_with(kClose) || body.size() < open + kOpen.size() + kClose.size()) return false;
    const std::size_t start = open + kOpen.size();
    head_.reserve(start + kClose.size() + http::kBodyPadding);
    head_.assign(body.substr(0, start)).append(kClose);
    if (!ReadMembers(head_) || !have_pod_ || !have_names_ || !args_.names.empty() || args_.whole_nodes) return false;
    args_.index = std::move(index);
    return ReadNameList(body.substr(start, body.size() - kClose.size() - start), *args_.index, args_.names, args_.ids);
  }

  void FreeWhatALargeBodyTook(std::size_t next_body) {
    if (std::exchange(last_body_, next_body) <= kKeptBody) return;
    parser_ = ondemand::parser();
    pod_parser_ = simdjson::dom::parser();
    args_ = {};
    node_names_ = {};
    head_ = {};
  }

  void Clear() {
    args_.ids.clear();
    args_.index.reset();
    args_.names.clear();
    args_.nodes.clear();
    args_.whole_nodes = false;
    node_names_.clear();
    have_pod_ = have_names_ = false;
  }

  Result<> ReadMember(std::size_t member, ondemand::value& value) {
    if (member >= kArgsMembers.size()) return {};
    const std::string_view name = kArgsMembers[member];
    const auto null = IsNull(value, name);
    if (!null) return Fail(null.error());
    if (*null) return {};
    if (member == kPod) return ReadPod(value);
    return member == kNodes ? ReadNodes(value) : ReadNodeNames(value);
  }

  Result<> ReadPod(ondemand::value& value) {
    auto document = ParseSlice(value, "Pod");
    if (!document) return Fail(document.error());
    auto pod = k8s::DecodePod(document->tree);
    if (!pod) return Fail(pod.error(), "Pod");
    if (pod->uid.empty()) return Fail(Code::kInvalid, "Pod: metadata.uid is missing");
    args_.pod = *std::move(pod);
    have_pod_ = true;
    return {};
  }

  Result<> ReadNodeNames(ondemand::value& value) {
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return Fault(error, "NodeNames");
    for (auto element : array) {
      std::string_view name;
      if (const auto error = std::move(element).get_string().get(name)) {
        return Fault(error, fmt::format("NodeNames[{}]", args_.names.size()));
      }
      args_.names.push_back(name);
    }
    have_names_ = true;
    return {};
  }

  // A v1 NodeList.
  Result<> ReadNodes(ondemand::value& value) {
    ondemand::object list;
    if (const auto error = value.get_object().get(list)) return Fault(error, "Nodes");
    args_.whole_nodes = true;
    return VisitMembers(list, [&](std::string_view key, ondemand::value& member) -> Result<> {
      if (key != "items") return {};
      const auto null = IsNull(member, "Nodes.items");
      if (!null) return Fail(null.error());
      return *null ? Result<>{} : ReadItems(member);
    });
  }

  Result<> ReadItems(ondemand::value& value) {
    ondemand::array items;
    if (const auto error = value.get_array().get(items)) return Fault(error, "Nodes.items");
    for (auto element : items) {
      const std::string what = fmt::format("Nodes.items[{}]", args_.nodes.size());
      ondemand::value item;
      if (const auto error = std::move(element).get(item)) return Fault(error, what);
      auto document = ParseSlice(item, what);
      if (!document) return Fail(document.error());
      std::string_view name;
      if (const auto error = document->tree["metadata"]["name"].get(name)) return Fault(error, what + ".metadata.name");
      args_.nodes.push_back(document->text);
      node_names_.emplace_back(name);
    }
    return {};
  }

  struct Slice {
    std::string_view text;  // in the body
    simdjson::dom::element tree;
  };

  Result<Slice> ParseSlice(ondemand::value& value, std::string_view what) {
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return Fault(error, what);
    Slice slice;
    if (const auto error = object.raw_json().get(slice.text)) return Fault(error, what);
    // Padding: what follows the slice is the rest of the body and the body's own padding.
    if (const auto error = pod_parser_.parse(slice.text.data(), slice.text.size(), false).get(slice.tree)) return Fault(error, what);
    return slice;
  }

  Result<const ExtenderArgs*> ChooseCandidates() {
    if (have_names_) {
      args_.whole_nodes = false;
      args_.nodes.clear();
      return &args_;
    }
    if (!args_.whole_nodes) return Fail(Code::kInvalid, "NodeNames: missing, and Nodes too; one of them must be given");
    args_.names.assign(node_names_.begin(), node_names_.end());
    return &args_;
  }

  ondemand::parser parser_;
  simdjson::dom::parser pod_parser_;
  std::size_t last_body_ = 0;
  ExtenderArgs args_;
  std::string head_;                     // a body without its node names
  std::vector<std::string> node_names_;  // of whole nodes: the DOM parser's own copies end with its next document
  bool have_pod_ = false;
  bool have_names_ = false;
};

ArgsDecoder::ArgsDecoder() : impl_(std::make_unique<Impl>()) {}
ArgsDecoder::~ArgsDecoder() = default;
Result<const ExtenderArgs*> ArgsDecoder::Decode(std::string_view body, std::shared_ptr<const NodeIndex> index) {
  return impl_->Decode(body, std::move(index));
}

Result<BindArgs> DecodeBindArgs(std::string_view body) {
  BindArgs args;
  const std::array<std::string*, kBindMembers.size()> targets = {&args.pod.name, &args.pod.ns, &args.pod.uid, &args.node};
  ondemand::parser parser;
  Members members(kBindMembers);
  auto read = ReadObject(parser, body, [&](std::string_view key, ondemand::value& value) -> Result<> {
    const auto member = members.Enter(key);
    if (!member) return Fail(member.error());
    if (*member == kBindMembers.size()) return {};
    std::string_view text;
    if (const auto error = value.get_string().get(text)) return Fault(error, kBindMembers[*member]);
    *targets[*member] = text;
    return {};
  });
  if (!read) return Fail(read.error());
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i]->empty()) return Fail(Code::kInvalid, "{}: missing", kBindMembers[i]);
  }
  return args;
}

}  // namespace partage::scheduler
