// SPDX-License-Identifier: Apache-2.0
// Every entry point of the driver as a program sees it that was linked with -lcuda and -lnvidia-ml.
#pragma once

#include "intercept/api/cuda.h"
#include "intercept/api/nvml.h"

namespace partage::intercept {

#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) extern "C" ret name params;
#define PARTAGE_NVML_FUNCTION PARTAGE_CUDA_FUNCTION
#include "intercept/api/cuda_functions.inc"
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
#undef PARTAGE_CUDA_FUNCTION

}  // namespace partage::intercept
