// SPDX-License-Identifier: Apache-2.0
// jail MASK PROGRAM ARGUMENT…: runs the program where the kernel refuses mprotect with all bits of MASK. 6, writing and executing, is what systemd's
// MemoryDenyWriteExecute= and hardened kernels refuse.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <iterator>

int main(int count, char** arguments) {
  if (count < 3) return 2;
  const auto mask = static_cast<unsigned>(std::atoi(arguments[1]));
  // No other architecture's calls are looked at: this one's programs alone are started.
  sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 4),
                          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
                          BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mask, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::perror("jail");
    return 3;
  }
  execv(arguments[2], arguments + 2);
  return 127;
}
