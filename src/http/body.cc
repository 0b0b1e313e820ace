// SPDX-License-Identifier: Apache-2.0

#include "http/body.h"

#include <algorithm>
#include <cstring>

#include "http/server.h"

namespace partage::http {
namespace {

constexpr std::size_t kPooledBodies = 8;
constexpr std::size_t kPooledBytes = 4u << 20;  // a body beyond this is rare and its memory better given back

}  // namespace

Body& Body::operator=(Body&& other) noexcept {
  Body taken(std::move(other));
  Swap(taken);
  return *this;
}

void Body::Swap(Body& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
}

void Body::Reset(std::size_t size) {
  size_ = 0;
  if (size > capacity_ || !bytes_) Grow(size);
  size_ = size;
}

void Body::Append(std::string_view bytes) {
  if (bytes.size() > capacity_ - size_ || !bytes_) Grow(std::max(size_ + bytes.size(), 2 * capacity_));
  std::memcpy(bytes_.get() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

void Body::Seal() {
  if (!bytes_) Grow(0);
  std::memset(bytes_.get() + size_, 0, kBodyPadding);
}

void Body::Grow(std::size_t capacity) {
  auto bytes = std::make_unique_for_overwrite<char[]>(capacity + kBodyPadding);
  if (size_ > 0) std::memcpy(bytes.get(), bytes_.get(), size_);
  bytes_ = std::move(bytes);
  capacity_ = capacity;
}

Body BodyPool::Take() {
  MutexLock lock(mutex_);
  if (free_.empty()) return {};
  Body body = std::move(free_.back());
  free_.pop_back();
  body.Reset(0);
  return body;
}

void BodyPool::Give(Body body) {
  if (body.capacity() == 0 || body.capacity() > kPooledBytes) return;
  MutexLock lock(mutex_);
  if (free_.size() < kPooledBodies) free_.push_back(std::move(body));
}

}  // namespace partage::http
