# SPDX-License-Identifier: Apache-2.0
# Flags of every target and the three functions that make them.
#
# The sanitizers' presets, and dev in CI, compile a few files at a time as one (CMAKE_UNITY_BUILD), half of the work and less. A target whose files use one
# private name for different things says SEPARATE.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(PARTAGE_CCACHE ccache)
if(PARTAGE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${PARTAGE_CCACHE})
endif()

add_library(partage_flags INTERFACE)
target_compile_options(partage_flags INTERFACE -Wall -Wextra -Wpedantic -Wno-missing-field-initializers -fno-omit-frame-pointer)
if(PARTAGE_WERROR)
  target_compile_options(partage_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(partage_flags INTERFACE -Wthread-safety)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # With -O3 it warns of "literal" + std::string in its own library (GCC bug 105651).
  target_compile_options(partage_flags INTERFACE -Wno-restrict)
endif()
if(CMAKE_UNITY_BUILD)
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # A file that is included seems to be a header, whose unnamed namespaces would be a mistake.
    target_compile_options(partage_flags INTERFACE -Wno-subobject-linkage)
  endif()
endif()
set(PARTAGE_TEST_PREFIX "")  # tells the sanitizers' tests apart where one ctest runs several build folders
if(PARTAGE_SANITIZE)
  set(PARTAGE_TEST_PREFIX "[${PARTAGE_SANITIZE}] ")
  target_compile_options(partage_flags INTERFACE -fsanitize=${PARTAGE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(partage_flags INTERFACE -fsanitize=${PARTAGE_SANITIZE})
endif()
if(PARTAGE_FUZZ)
  target_compile_options(partage_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(partage_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
# Both the root and src/ are include roots: "scheduler/engine/engine.h", "device/device.h".
target_include_directories(partage_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/src)

# BUSY: optimised in the dev preset too, because tests spend minutes in it. Sanitizers make an optimised file take twice as long to compile.
function(partage_busy name)
  if(NOT PARTAGE_SANITIZE)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Debug>:-O1>)
  endif()
endfunction()

# partage_library(NAME [OBJECT] [SEPARATE] [BUSY] SOURCES … [PUBLIC …] [PRIVATE …])
function(partage_library name)
  cmake_parse_arguments(ARG "OBJECT;SEPARATE;BUSY" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  if(ARG_OBJECT)
    add_library(${name} OBJECT ${ARG_SOURCES})
  else()
    add_library(${name} STATIC ${ARG_SOURCES})
  endif()
  target_link_libraries(${name} PUBLIC partage_flags ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  if(ARG_SEPARATE)
    set_target_properties(${name} PROPERTIES UNITY_BUILD OFF)
  endif()
  if(ARG_BUSY)
    partage_busy(${name})
  endif()
endfunction()

# partage_program(NAME SOURCES … LINK …)
function(partage_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE partage_flags ${ARG_LINK})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  if(PARTAGE_SANITIZE AND NOT PARTAGE_SANITIZE_INTEGRATION)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)  # only integration tests start programs
  endif()
endfunction()

# partage_test(NAME [SEPARATE] [BUSY] [ONE_THREAD] [SECONDS N] LABEL unit|contract|integration SOURCES … LINK …): one Catch2 program, each TEST_CASE a ctest.
# SECONDS: what one test case may take on a busy machine, 120 unless told. ONE_THREAD: on demand only for the ThreadSanitizer, which has nothing to see there.
# With a sanitizer, integration tests are built only on demand (PARTAGE_SANITIZE_INTEGRATION): sockets and time-outs under one take long. So do test cases
# tagged [minutes], which run without sanitizers only; others must walk the same code. One that says "SKIPPED: " (test/support/skip.h) counts as skipped.
function(partage_test name)
  cmake_parse_arguments(ARG "SEPARATE;BUSY;ONE_THREAD" "LABEL;SECONDS" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_SECONDS)
    set(ARG_SECONDS 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE partage_flags partage_test_main ${ARG_LINK})
  if(ARG_SEPARATE)
    set_target_properties(${name} PROPERTIES UNITY_BUILD OFF)
  endif()
  if(ARG_BUSY)
    partage_busy(${name})
  endif()
  if((PARTAGE_SANITIZE AND ARG_LABEL STREQUAL "integration" AND NOT PARTAGE_SANITIZE_INTEGRATION)
     OR (PARTAGE_SANITIZE STREQUAL "thread" AND ARG_ONE_THREAD))
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)
    return()
  endif()
  set(spec "")
  if(PARTAGE_SANITIZE)
    set(spec TEST_SPEC "~[minutes]")
  endif()
  catch_discover_tests(${name} ${spec} TEST_PREFIX "${PARTAGE_TEST_PREFIX}${name}: " EXTRA_ARGS --warn NoTests PROPERTIES
    LABELS ${ARG_LABEL} TIMEOUT ${ARG_SECONDS} SKIP_REGULAR_EXPRESSION "SKIPPED: ")
endfunction()
