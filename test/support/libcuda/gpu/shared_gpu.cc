// SPDX-License-Identifier: Apache-2.0
#include "test/support/libcuda/gpu/shared_gpu.h"

#include <algorithm>
#include <bit>

namespace partage::fake_gpu {

void BusyHistory::Add(int64_t from, int64_t length) {
  while (length > 0) {
    const int64_t number = from / kBucketNs;
    const int64_t part = std::min(length, (number + 1) * kBucketNs - from);
    Bucket& bucket = buckets_[static_cast<size_t>(number % kBusyBuckets)];
    if (bucket.number != number) bucket = {number, 0};
    bucket.ns += part;
    from += part;
    length -= part;
  }
}

int64_t BusyHistory::Between(int64_t from, int64_t to) const {
  int64_t sum = 0;
  for (int64_t number = from / kBucketNs; number * kBucketNs < to; ++number) {
    const Bucket& bucket = buckets_[static_cast<size_t>(number % kBusyBuckets)];
    if (bucket.number == number) sum += bucket.ns;
  }
  return sum;
}

int64_t Tenant::FinishedAt(int64_t mark) const {
  const uint64_t oldest = segment_count > kSegments ? segment_count - kSegments : 0;
  for (uint64_t i = segment_count; i > oldest; --i) {
    const Segment& segment = segments[(i - 1) % kSegments];
    if (segment.served < mark) return segment.wall + std::min(mark - segment.served, segment.length);
  }
  return segment_count == 0 ? 0 : segments[oldest % kSegments].wall;
}

int SharedGpu::Join(int32_t pid) {
  for (int i = 0; i < kMaxTenants; ++i) {
    Tenant& tenant = tenants[i];
    if (tenant.pid != 0) continue;
    tenant.pid = pid;
    tenant.used = tenant.segment_count = 0;
    tenant.submitted = tenant.served = 0;
    tenant.busy.Clear();
    places = std::max(places, i + 1);
    return i;
  }
  return -1;
}

void SharedGpu::Leave(int tenant) {
  SetActive(tenant, false);
  used -= tenants[tenant].used;
  tenants[tenant].used = 0;
  tenants[tenant].pid = 0;
}

void SharedGpu::Recount() {
  used = 0;
  for (int i = 0; i < places; ++i) used += tenants[static_cast<size_t>(i)].used;
}

bool SharedGpu::Reserve(int tenant, uint64_t bytes) {
  if (bytes > capacity - used) return false;
  used += bytes;
  tenants[tenant].used += bytes;
  return true;
}

void SharedGpu::Release(int tenant, uint64_t bytes) {
  bytes = std::min(bytes, tenants[tenant].used);
  used -= bytes;
  tenants[tenant].used -= bytes;
}

int64_t SharedGpu::Submit(int tenant, int64_t ns) {
  tenants[tenant].submitted += ns;
  if (ns > 0) SetActive(tenant, true);
  return tenants[tenant].submitted;
}

void SharedGpu::Advance(int64_t now) {
  while (time_ < now) {
    const int next = NextActive(current_);
    if (next < 0) break;
    if (slice_left_ <= 0 || tenants[current_].backlog() <= 0 || tenants[current_].pid == 0) {
      current_ = next;
      slice_left_ = slice;
    }
    Serve(current_, std::min({slice_left_, tenants[current_].backlog(), now - time_}));
  }
  time_ = std::max(time_, now);
}

void SharedGpu::Serve(int tenant, int64_t length) {
  Tenant& t = tenants[tenant];
  Segment* last = t.segment_count > 0 ? &t.segments[(t.segment_count - 1) % kSegments] : nullptr;
  if (last != nullptr && last->wall + last->length == time_) {
    last->length += length;
  } else {
    t.segments[t.segment_count++ % kSegments] = {time_, t.served, length};
  }
  t.busy.Add(time_, length);
  busy.Add(time_, length);
  t.served += length;
  time_ += length;
  slice_left_ -= length;
  if (t.backlog() <= 0) SetActive(tenant, false);
}

void SharedGpu::SetActive(int tenant, bool active) {
  const uint64_t bit = uint64_t{1} << (tenant % 64);
  uint64_t& word = active_[static_cast<size_t>(tenant / 64)];
  word = active ? word | bit : word & ~bit;
}

/// The first tenant with work after `after`, round about; `after` itself comes last.
int SharedGpu::NextActive(int after) const {
  for (int step = 0; step <= kMaxTenants / 64; ++step) {
    const int index = (after / 64 + step) % (kMaxTenants / 64);
    uint64_t word = active_[static_cast<size_t>(index)];
    const uint64_t up_to_after = ~uint64_t{0} >> (63 - after % 64);
    if (step == 0) word &= ~up_to_after;
    if (step == kMaxTenants / 64) word &= up_to_after;
    if (word != 0) return index * 64 + std::countr_zero(word);
  }
  return -1;
}

}  // namespace partage::fake_gpu
