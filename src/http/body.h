// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/mutex.h"

namespace partage::http {

/// Bytes of a request body, followed by kBodyPadding readable ones. Received into directly, so that a large body is copied once, by the kernel.
/// Movable; the bytes stay where they are. Not thread-safe.
class Body {
 public:
  Body() = default;
  Body(Body&& other) noexcept { Swap(other); }
  Body& operator=(Body&& other) noexcept;

  /// Makes room for exactly `size` bytes, uninitialised; what was there is lost.
  void Reset(std::size_t size);
  /// Adds bytes at the end: for bodies whose size is not known beforehand.
  void Append(std::string_view bytes);
  /// Zeroes the padding. REQUIRES: called before view() is handed out.
  void Seal();

  char* data() { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  std::string_view view() const { return {bytes_.get(), size_}; }

 private:
  void Grow(std::size_t capacity);
  void Swap(Body& other) noexcept;

  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0, capacity_ = 0;  // without the padding
};

/// Buffers of finished requests for the next ones: memory follows the number of requests running, not of connections open. Thread-safe.
class BodyPool {
 public:
  /// An empty body, with the memory of one given back if there is any.
  Body Take();
  void Give(Body body);

 private:
  Mutex mutex_;
  std::vector<Body> free_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::http
