// SPDX-License-Identifier: Apache-2.0
#include "k8s/informer/list_page.h"

namespace partage::k8s {

Result<> ListPage::Parse(std::string text) {
  text_ = std::move(text);
  text_.reserve(text_.size() + simdjson::SIMDJSON_PADDING);
  version_ = next_ = {};
  simdjson::dom::element document;
  auto error = parser_.parse(text_.data(), text_.size(), false).get(document);
  if (error == simdjson::SUCCESS) error = document.at_pointer("/metadata/resourceVersion").get(version_);
  if (error != simdjson::SUCCESS) return Fail(Code::kInvalid, "the answer is no list: {}", simdjson::error_message(error));
  if (document.at_pointer("/metadata/continue").get(next_) != simdjson::SUCCESS) next_ = {};
  items_.reset();
  const auto items = document["items"];
  if (items.error() != simdjson::SUCCESS || items.is_null()) return {};
  if (!items.is_array()) return Fail(Code::kInvalid, "the answer is no list: items is no array");
  items_ = items.get_array().value_unsafe();
  return {};
}

}  // namespace partage::k8s
