// SPDX-License-Identifier: Apache-2.0
// A library that finds another one by its own RUNPATH. Built twice: as the finder and as the one to be found.
#include <dlfcn.h>

extern "C" void* OpenInner() { return dlopen("libpartage_test_inner.so", RTLD_NOW); }
