// SPDX-License-Identifier: MIT
// Chance and its judge, for random lives, each in a process of its own (fuzz_lives.c).

#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

uint32_t fuzz_pick(uint32_t below);
void fuzz_fail(const char *what, int line);
#define FUZZ_CHECK(e) ((e) ? (void)0 : fuzz_fail(#e, __LINE__))

// The checksum of what had checksum s (nothing: 0) and these bytes after it.
uint32_t fuzz_sum(uint32_t s, const uint8_t *p, size_t len);

// Run `life` for count seeds. 0, or the number of lives that ended badly.
int fuzz_lives(void (*life)(void), unsigned long seed, unsigned long count);

void fuzz_disk_life(void); // disk.c

#endif
