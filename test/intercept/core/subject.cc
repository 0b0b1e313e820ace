// SPDX-License-Identifier: Apache-2.0
// A library to be redirected.
extern "C" {
int SubjectOne() { return 1; }
int SubjectTwo() { return 2; }
int SubjectThree() { return 3; }
}
