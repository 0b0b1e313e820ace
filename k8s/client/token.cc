// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/token.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/text_file.h"

namespace partage::k8s {
namespace {

constexpr std::chrono::seconds kMaxAge{60};

std::string Bearer(const std::string& token) { return token.empty() ? std::string() : "Bearer " + token; }

bool IsPrintable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

Result<std::string> TokenSource::Read() const {
  std::string token = fixed_;
  if (!file_.empty()) {
    auto text = ReadTextFile(file_);
    if (!text) return Fail(Code::kInvalid, "tokenFile: {}", text.error().message);
    token = *std::move(text);
    token.erase(token.find_last_not_of(" \t\r\n") + 1);
    if (token.empty()) return Fail(Code::kInvalid, "tokenFile {} is empty", file_);
  }
  if (!IsPrintable(token))
    return Fail(Code::kInvalid, "the bearer token{} holds a character that no token has", file_.empty() ? "" : " in " + file_);
  return token;
}

Result<> TokenSource::Load() {
  auto token = Read();
  if (!token) return Fail(token.error());
  MutexLock lock(mutex_);
  token_ = *std::move(token);
  read_at_ = clock_.Now();
  return {};
}

void TokenSource::Refresh() {
  read_at_ = clock_.Now();
  if (auto token = Read()) {
    token_ = *std::move(token);
  } else {
    log::warn("the old token stays in use: {}", token.error().message);
  }
}

std::string TokenSource::Header() {
  MutexLock lock(mutex_);
  if (!file_.empty() && clock_.Now() - read_at_ >= kMaxAge) Refresh();
  return Bearer(token_);
}

bool TokenSource::Renew(const std::string& header) {
  MutexLock lock(mutex_);
  if (file_.empty()) return false;
  if (Bearer(token_) == header) Refresh();
  return Bearer(token_) != header;
}

}  // namespace partage::k8s
