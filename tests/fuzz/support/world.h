// SPDX-License-Identifier: MIT
// A target's surroundings: its input, read bit by bit, and its judge. A target is one file with fuzz_one() in it.

#ifndef FLOE_FUZZ_WORLD_H
#define FLOE_FUZZ_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One run over the whole input. All variables of the code under test are as they were when the program started, and
// nothing is allocated; whatever is allocated when it returns is freed.
void fuzz_one(void);

// Once, before the first run, where a target has it: variables and memory are before each run what it leaves. No input.
void fuzz_start(void) __attribute__((weak));

// Of a large variable of the target's own that is written before it is read in each run: it is not put back.
#define FUZZ_SCRATCH __attribute__((section("fuzz_scratch")))

// What is left of the input. Past its end everything reads as zero: loops end on in_left() == 0.
size_t in_left(void);
uint8_t in_u8(void);
uint16_t in_u16(void); // big-endian, as all below
uint32_t in_u32(void);
uint64_t in_u64(void);
uint32_t in_below(uint32_t n); // 0 to n - 1; reads one byte where n is at most 256, else two
bool in_one_of(uint32_t n);    // true with a byte divisible by n: mostly false, and false at the end

// The next bytes, at most `most` and as many as a length in front of them says: a heap block of exactly that size,
// which lives until the run ends, so that a sanitizer sees who reads past it.
uint8_t *in_bytes(size_t most, size_t *len);
uint8_t *in_rest(size_t most, size_t *len); // all that is left, without a length
void *in_space(size_t size);                // room for an answer, of zeros: the same kind of block

// A claim about the code under test: where it does not hold, the run ends as a crash.
#define FUZZ_CHECK(e) ((e) ? (void)0 : fuzz_broken(#e, __FILE__, __LINE__))
_Noreturn void fuzz_broken(const char *what, const char *file, int line);

// What hal_panic() and an access to no device mean: a crash, unless the target says that its input may cause one.
// Then fuzz_one() is left there. Reset before each run.
extern bool fuzz_may_panic, fuzz_may_stray;
// Leave fuzz_one() at once: the code under test has ended in an orderly way.
_Noreturn void fuzz_leave(void);

#endif
