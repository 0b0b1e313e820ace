# SPDX-License-Identifier: Apache-2.0
# Builds libpartage.so with zig, which brings headers and link stubs of every glibc: the result runs where glibc is 2.17 or newer.
# `partage_library` is the x86-64 one, in lib/ of the build folder; `partage_library_aarch64` is made only when asked for.

find_program(PARTAGE_ZIG zig PATHS ${CMAKE_SOURCE_DIR}/build/zig/bin NO_DEFAULT_PATH)

set(PARTAGE_LIBRARY ${CMAKE_BINARY_DIR}/lib/libpartage.so CACHE INTERNAL "The library that ships")
set(PARTAGE_LIBRARY_AARCH64 ${CMAKE_BINARY_DIR}/lib/aarch64/libpartage.so CACHE INTERNAL "The same for aarch64")

# Optimised as a whole: a hook calls a dozen small functions of other files, which costs an allocation a tenth.
set(zig_compile
  -std=c++20 -O2 -flto -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti -fno-semantic-interposition -ffunction-sections -fdata-sections
  -fno-sanitize=all -fno-stack-protector -fno-omit-frame-pointer -ftls-model=initial-exec -DNDEBUG
  -Wall -Wextra -Wpedantic -Werror -I${CMAKE_SOURCE_DIR}/src)
# What a process does once, or asks for by name, is made for size: the file may have 256 KiB.
set(zig_for_size
  environment.cc log.cc hooks/array.cc hooks/context.cc hooks/graph_memory.cc hooks/init.cc hooks/ipc.cc hooks/nvml.cc memory/covered.cc
  memory/graph_footprint.cc memory/overhead.cc agent_socket.cc file.cc size.cc)
list(TRANSFORM zig_for_size REPLACE "\\." "\\\\.")
list(JOIN zig_for_size "|" zig_for_size)

# Bound lazily and without RELRO: looking up every function of libc at load would cost each exec of any program in the container a third more.
set(zig_link
  -shared -O2 -flto -nostdlib++ -s -Wl,--gc-sections -Wl,-soname,libpartage.so -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/exports.map
  -Wl,-T,${CMAKE_CURRENT_SOURCE_DIR}/segments.ld -Wl,-z,lazy -Wl,-z,norelro -Wl,-z,nodelete -Wl,-z,defs -Wl,--hash-style=both)

# Zig's own cache goes below the build folder of the source tree: a home folder may not be writable, and a second build finds what the first compiled.
set(zig ${CMAKE_COMMAND} -E env ZIG_GLOBAL_CACHE_DIR=${CMAKE_SOURCE_DIR}/build/zig-cache ZIG_LOCAL_CACHE_DIR=${CMAKE_SOURCE_DIR}/build/zig-cache
  ${PARTAGE_ZIG})

function(partage_zig_variant target triple library default)
  set(objects)
  set(controller)
  foreach(source IN LISTS ARGN)
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_SOURCE_DIR}/src OUTPUT_VARIABLE name)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}/${name}.o)
    cmake_path(GET object PARENT_PATH folder)
    file(MAKE_DIRECTORY ${folder})
    set(size)
    if(name MATCHES "/(${zig_for_size})$")
      set(size -Os)
    endif()
    # The controller keeps the code it gets here (for 0.1 ns a launch), so that the simulator can run that very code.
    if(name MATCHES "intercept/limiter/(bucket|cost_model|governor|limiter|rate|sampler)\\.cc$")
      set(size -fno-lto)
      list(APPEND controller ${object})
    endif()
    add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d
      COMMAND ${zig} c++ -target ${triple} ${zig_compile} ${size} -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
      COMMENT "zig ${triple} ${name}")
    list(APPEND objects ${object})
  endforeach()
  cmake_path(GET library PARENT_PATH folder)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${library} DEPENDS ${objects} ${CMAKE_CURRENT_SOURCE_DIR}/exports.map ${CMAKE_CURRENT_SOURCE_DIR}/segments.ld
    COMMAND ${zig} cc -target ${triple} ${zig_link} ${objects} -o ${library}
    COMMENT "zig ${triple} libpartage.so")
  add_custom_target(${target} ${default} DEPENDS ${library})
  set(zig_controller ${controller} PARENT_SCOPE)
endfunction()

# partage_zig_library(SOURCES …): of this folder, together with src/shm.
function(partage_zig_library)
  cmake_parse_arguments(ARG "" "" "SOURCES" ${ARGN})
  if(NOT PARTAGE_ZIG OR PARTAGE_SANITIZE)
    if(NOT PARTAGE_SANITIZE)
      message(STATUS "no zig in build/zig (./run fetches it): libpartage.so is not built, its tests are left out")
    endif()
    return()
  endif()
  file(GLOB shm CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/shm/*.cc)
  partage_zig_variant(partage_library x86_64-linux-gnu.2.17 ${PARTAGE_LIBRARY} ALL ${ARG_SOURCES} ${shm})
  # The limiter's controller as the library has it, object file for object file, for the simulator.
  set_source_files_properties(${zig_controller} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  add_library(partage_intercept_limiter_shipped STATIC ${zig_controller})
  set_target_properties(partage_intercept_limiter_shipped PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(partage_intercept_limiter_shipped PUBLIC partage_flags partage_shm)
  add_dependencies(partage_intercept_limiter_shipped partage_library)
  partage_zig_variant(partage_library_aarch64 aarch64-linux-gnu.2.17 ${PARTAGE_LIBRARY_AARCH64} "" ${ARG_SOURCES} ${shm})
endfunction()
