// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/name_list.h"

#include <algorithm>
#include <array>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace partage::scheduler {
namespace {

// Letters of DNS names. Others may be legal JSON, but then a parser must say what they mean.
bool Plain(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || (c >= 'A' && c <= 'Z') || c == '_';
  });
}

// Bytes before the first quote; the text's size when there is none.
std::size_t UpToQuote(std::string_view text) {
#ifdef __SSE2__
  const __m128i quotes = _mm_set1_epi8('"');
  for (std::size_t at = 0; at < text.size(); at += 16) {
    const __m128i piece = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const auto found = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(piece, quotes)));
    if (found != 0) return std::min(text.size(), at + static_cast<std::size_t>(__builtin_ctz(found)));
  }
  return text.size();
#else
  const void* quote = std::memchr(text.data(), '"', text.size());
  return quote == nullptr ? text.size() : static_cast<std::size_t>(static_cast<const char*>(quote) - text.data());
#endif
}

// Takes `"name"` off the front; empty when something else stands there. Most names are as long as the one before (`usual`); where that holds, the processor
// begins with the next name before it has found this one's end.
std::string_view TakeName(std::string_view& list, std::size_t usual) {
  if (list.empty() || list.front() != '"') return {};
  const std::string_view rest = list.substr(1);
  const bool as_usual = usual < rest.size() && rest[usual] == '"' && UpToQuote(rest.substr(0, usual)) == usual;
  const std::size_t size = as_usual ? usual : UpToQuote(rest);
  if (size >= rest.size()) return {};
  list = rest.substr(size + 1);
  return rest.substr(0, size);
}

// Names whose index entries are on their way from memory.
class Batch {
 public:
  explicit Batch(const NodeIndex& index) : index_(index) {}

  bool full() const { return size_ == hashes_.size(); }
  void Add(std::string_view name) { hashes_[size_++] = index_.Expect(name); }
  /// Ids of the names added since the last time. False when one of them is unknown and could mean something else in JSON.
  bool Take(const std::string_view* names, std::vector<NodeId>& ids) {
    for (std::size_t i = 0; i < size_; ++i) {
      ids.push_back(index_.FindExpected(hashes_[i]));
      if (ids.back() == kNoNode && !Plain(names[i])) return false;
    }
    size_ = 0;
    return true;
  }

 private:
  const NodeIndex& index_;
  std::array<std::uint64_t, 32> hashes_;
  std::size_t size_ = 0;
};

}  // namespace

bool ReadNameList(std::string_view list, const NodeIndex& index, std::vector<std::string_view>& names, std::vector<NodeId>& ids) {
  names.clear();
  ids.clear();
  Batch batch(index);
  while (!list.empty()) {
    const std::string_view name = TakeName(list, names.empty() ? 0 : names.back().size());
    if (name.empty()) return false;
    names.push_back(name);
    batch.Add(name);
    if (batch.full() && !batch.Take(names.data() + ids.size(), ids)) return false;
    if (list.empty()) break;
    if (list.front() != ',' || list.size() == 1) return false;
    list.remove_prefix(1);
  }
  return batch.Take(names.data() + ids.size(), ids);
}

}  // namespace partage::scheduler
