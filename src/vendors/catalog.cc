// SPDX-License-Identifier: Apache-2.0

#include "vendors/vendor.h"
