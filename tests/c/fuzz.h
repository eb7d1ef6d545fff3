// SPDX-License-Identifier: MIT
// Chance and its judge, for random lives (fuzz.c runs them, each in a process of its own).

#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>

uint32_t fuzz_pick(uint32_t below);
void fuzz_fail(const char *what, int line);
#define FUZZ_CHECK(e) ((e) ? (void)0 : fuzz_fail(#e, __LINE__))

void fuzz_disk_life(void); // disk.c

#endif
