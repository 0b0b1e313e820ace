// SPDX-License-Identifier: Apache-2.0
// dlopen and dlmopen: the only functions of libc that are interposed, and the moment at which a process is noticed to want the driver.
//
// Both end in a jump, not a call: libc finds out by the return address whose RUNPATH and namespace apply, so it must see the caller's, not ours.
// Hence assembly: C++ has no way to promise a tail call.
#include "intercept/loader/trigger.h"

#if defined(__x86_64__)
#define PARTAGE_TAIL_JUMP(name, decide)                                                            \
  __asm__(".text\n.globl " name "\n.globl partage_" name "\n.hidden partage_" name "\n.type " name \
          ", @function\n"                                                                          \
          ".type partage_" name ", @function\n.p2align 4\n" name ":\npartage_" name                \
          ":\n.cfi_startproc\n"                                                                    \
          "endbr64\n"                                                                              \
          "pushq %rdi\n.cfi_adjust_cfa_offset 8\npushq %rsi\n.cfi_adjust_cfa_offset 8\n"           \
          "pushq %rdx\n.cfi_adjust_cfa_offset 8\n"                                                 \
          "callq " decide                                                                          \
          "\n"                                                                                     \
          "popq %rdx\n.cfi_adjust_cfa_offset -8\npopq %rsi\n.cfi_adjust_cfa_offset -8\n"           \
          "popq %rdi\n.cfi_adjust_cfa_offset -8\n"                                                 \
          "jmpq *%rax\n.cfi_endproc\n.size " name ", . - " name "\n")
#elif defined(__aarch64__)
#define PARTAGE_TAIL_JUMP(name, decide)                                                                     \
  __asm__(".text\n.globl " name "\n.globl partage_" name "\n.hidden partage_" name "\n.type " name          \
          ", %function\n"                                                                                   \
          ".type partage_" name ", %function\n.p2align 4\n" name ":\npartage_" name                         \
          ":\n.cfi_startproc\n"                                                                             \
          "hint #34\n"                                                                                      \
          "stp x29, x30, [sp, #-48]!\n.cfi_def_cfa_offset 48\n.cfi_offset x29, -48\n.cfi_offset x30, -40\n" \
          "mov x29, sp\nstp x0, x1, [sp, #16]\nstr x2, [sp, #32]\n"                                         \
          "bl " decide                                                                                      \
          "\n"                                                                                              \
          "mov x16, x0\nldr x2, [sp, #32]\nldp x0, x1, [sp, #16]\n"                                         \
          "ldp x29, x30, [sp], #48\n.cfi_restore x29\n.cfi_restore x30\n.cfi_def_cfa_offset 0\n"            \
          "br x16\n.cfi_endproc\n.size " name ", . - " name "\n")
#else
#error "x86-64 and aarch64 only"
#endif

PARTAGE_TAIL_JUMP("dlopen", "partage_decide_dlopen");
PARTAGE_TAIL_JUMP("dlmopen", "partage_decide_dlmopen");
