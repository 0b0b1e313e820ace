// SPDX-License-Identifier: Apache-2.0
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#ifdef PARTAGE_LOG_IS_NOT_INSTRUMENTED
#include <spdlog/spdlog.h>

// Before there are threads: ThreadSanitizer does not see the lock under which the distribution's libspdlog sets itself up, and calls two first uses a race.
const spdlog::logger* const g_first_use_of_the_log = spdlog::default_logger_raw();
#endif
