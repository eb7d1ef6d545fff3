// SPDX-License-Identifier: MIT
// CSPRNG: ChaCha20 (RFC 8439, 2.3) with fast key erasure; the pool is keyed by everything fed into it.
// Owns the key. Not here: the sources, apart from RDSEED and RDRAND. Context: main loop.

#include <string.h>

#include "internal.h"

enum { KEY_BYTES = 32, BLOCK_BYTES = 64, CPUID_RDRAND_BIT = 30, CPUID_RDSEED_BIT = 18, CPU_WORDS = 8, CPU_TRIES = 10 };

static uint32_t key[KEY_BYTES / 4];
static uint64_t counter;
static bool seeded;

static inline uint32_t rotate(uint32_t v, int n) { return v << n | v >> (32 - n); }

static void quarter(uint32_t *s, int a, int b, int c, int d) {
    s[a] += s[b];
    s[d] = rotate(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = rotate(s[b] ^ s[c], 12);
    s[a] += s[b];
    s[d] = rotate(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = rotate(s[b] ^ s[c], 7);
}

static void block(uint32_t out[16]) {
    uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(&in[4], key, KEY_BYTES);
    in[12] = (uint32_t)counter;
    in[13] = (uint32_t)(counter >> 32);
    counter++;
    memcpy(out, in, BLOCK_BYTES);
    for (int i = 0; i < 10; i++) {
        quarter(out, 0, 4, 8, 12);
        quarter(out, 1, 5, 9, 13);
        quarter(out, 2, 6, 10, 14);
        quarter(out, 3, 7, 11, 15);
        quarter(out, 0, 5, 10, 15);
        quarter(out, 1, 6, 11, 12);
        quarter(out, 2, 7, 8, 13);
        quarter(out, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++) {
        out[i] += in[i];
    }
}

// The first half of a block replaces the key, so that no earlier output can be computed from a later state.
static void next(uint32_t half[KEY_BYTES / 4]) {
    uint32_t b[16];
    block(b);
    memcpy(key, b, KEY_BYTES);
    memcpy(half, b + 8, KEY_BYTES);
}

static void mix(const void *data, size_t len) {
    const uint8_t *p = data;
    uint32_t unused[KEY_BYTES / 4];
    while (len > 0) {
        size_t n = len < KEY_BYTES ? len : KEY_BYTES;
        uint8_t chunk[KEY_BYTES] = {0};
        memcpy(chunk, p, n);
        for (size_t i = 0; i < KEY_BYTES; i++) {
            ((uint8_t *)key)[i] ^= chunk[i];
        }
        next(unused);
        p += n;
        len -= n;
    }
}

void hal_entropy_add(const void *data, size_t len) {
    mix(data, len);
    seeded = seeded || len >= 16;
}

static bool cpu_word(bool seed, uint64_t *out) {
    for (int i = 0; i < CPU_TRIES; i++) {
        bool ok;
        if (seed) {
            __asm__ volatile("rdseed %0" : "=r"(*out), "=@ccc"(ok));
        } else {
            __asm__ volatile("rdrand %0" : "=r"(*out), "=@ccc"(ok));
        }
        if (ok) {
            return true;
        }
    }
    return false;
}

void hal_entropy_init(void) {
    uint64_t jitter[2] = {hal_clock_cycles(), hal_clock_wall_ns()};
    mix(jitter, sizeof(jitter)); // makes two VMs differ; not counted as a seed
    uint32_t features1[4], features7[4] = {0}, max[4];
    hal_cpuid(0, 0, max);
    hal_cpuid(1, 0, features1);
    if (max[0] >= 7) {
        hal_cpuid(7, 0, features7);
    }
    bool rdseed = features7[1] & (1u << CPUID_RDSEED_BIT);
    bool rdrand = features1[2] & (1u << CPUID_RDRAND_BIT);
    uint64_t words[CPU_WORDS];
    unsigned n = 0;
    while (n < CPU_WORDS && ((rdseed && cpu_word(true, &words[n])) || (rdrand && cpu_word(false, &words[n])))) {
        n++;
    }
    hal_entropy_add(words, n * sizeof(words[0]));
}

bool hal_entropy_get(void *out, size_t len) {
    if (!seeded) {
        memset(out, 0, len);
        return false;
    }
    uint8_t *p = out;
    while (len > 0) {
        uint32_t half[KEY_BYTES / 4];
        next(half);
        size_t n = len < KEY_BYTES ? len : KEY_BYTES;
        memcpy(p, half, n);
        p += n;
        len -= n;
    }
    return true;
}

static void entropy_copied(const hal_identity_t *id) { hal_entropy_add(id->seed, sizeof(id->seed)); }
HAL_COPIED(HAL_COPIED_MACHINE, entropy_copied);
