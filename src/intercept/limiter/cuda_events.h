// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "intercept/api/cuda.h"
#include "intercept/limiter/sampler.h"

namespace partage::intercept::limiter {

/// The calling thread's default stream, which the driver's own handle for it means as well.
inline CUstream OwnStream() { return reinterpret_cast<CUstream>(2); }

/// The driver's events, past every hook. While a stream of the process is capturing, asking for an event could end the capture with an error: then
/// nothing new is measured, and nothing under way is finished.
extern const EventDriver kCudaEvents;

}  // namespace partage::intercept::limiter
