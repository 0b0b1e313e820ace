// SPDX-License-Identifier: Apache-2.0
#include "k8s/informer/frame_reader.h"

namespace partage::k8s {
namespace {

constexpr std::size_t kMaxLine = 64u << 20;

}  // namespace

Result<> FrameReader::Feed(std::string_view piece, const std::function<bool(const Frame&)>& take) {
  for (auto end = piece.find('\n'); end != piece.npos; end = piece.find('\n')) {
    auto line = piece.substr(0, end);
    if (!pending_.empty()) line = pending_.append(line);
    const auto more = Line(line, take);
    pending_.clear();
    if (!more) return Fail(more.error());
    if (!*more) return {};
    piece.remove_prefix(end + 1);
  }
  if (pending_.size() + piece.size() > kMaxLine) return Fail(Code::kInvalid, "a watch frame is over {} MiB", kMaxLine >> 20);
  pending_ += piece;
  return {};
}

Result<bool> FrameReader::Line(std::string_view line, const std::function<bool(const Frame&)>& take) {
  if (line.find_first_not_of(" \t\r") == line.npos) return true;
  simdjson::dom::element document;
  Frame frame;
  auto error = parser_.parse(line.data(), line.size()).get(document);
  if (error == simdjson::SUCCESS) error = document["type"].get(frame.type);
  if (error == simdjson::SUCCESS) error = document["object"].get(frame.object);
  if (error != simdjson::SUCCESS) return Fail(Code::kInvalid, "a line of the watch is no frame: {}", simdjson::error_message(error));
  return take(frame);
}

}  // namespace partage::k8s
