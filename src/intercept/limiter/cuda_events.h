// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "intercept/limiter/sampler.h"

namespace partage::intercept::limiter {

/// The driver's events, past every hook. While a stream of the process is capturing, asking for an event could end the capture with an error: then
/// nothing new is measured, and nothing under way is finished.
extern const EventDriver kCudaEvents;

}  // namespace partage::intercept::limiter
