// SPDX-License-Identifier: MIT
// CSPRNG: ChaCha20 (RFC 8439, 2.3) with fast key erasure; the pool is keyed by everything fed into it.
// Owns the key, and what is known of the sources' health. Not here: the sources. Context: main loop.

#include <stdio.h>
#include <string.h>

#include "internal.h"

enum { KEY_BYTES = 32, BLOCK_BYTES = 64, SEED_BYTES = 16, CPU_WORDS = 8, WINDOW = 512 };

static uint32_t key[KEY_BYTES / 4];
static uint64_t counter;
static bool seeded;

typedef struct {
    uint64_t first, last; // samples: the window's first one, and the one before
    uint32_t seen;
    bool failed;
} health_t;
static health_t health[HAL_NOISES];

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
    seeded = seeded || len >= SEED_BYTES;
}

// Health tests of NIST SP 800-90B, 4.4.1 and 4.4.2, for samples of 64 bits with 32 bits of entropy at least: a sample
// is neither the one before it nor the first one of its window (both cut-offs are 2). Of a source as good as it says
// one window in 2^55 fails. What is too short for a sample is not looked at.
static bool healthy(hal_noise_t source, const uint8_t *p, size_t len) {
    static const char names[HAL_NOISES][7] = {"RDSEED", "RDRAND", "device"};
    health_t *h = &health[source];
    bool before = h->failed;
    for (uint64_t sample; len >= sizeof(sample); p += sizeof(sample), len -= sizeof(sample)) {
        memcpy(&sample, p, sizeof(sample));
        h->failed |= h->seen != 0 && (sample == h->last || sample == h->first);
        h->first = h->seen++ % WINDOW == 0 ? sample : h->first;
        h->last = sample;
    }
    if (h->failed && !before) {
        char line[64];
        int n = snprintf(line, sizeof(line), "entropy: %s repeats itself: no seed\n", names[source]);
        hal_console_log(line, (size_t)n);
    }
    return !h->failed;
}

void hal_entropy_noise(hal_noise_t source, const void *data, size_t len) {
    mix(data, len);
    seeded |= healthy(source, data, len) && len >= SEED_BYTES;
}

void hal_entropy_init(void) {
    uint64_t jitter[2] = {hal_clock_cycles(), hal_clock_wall_ns()};
    mix(jitter, sizeof(jitter)); // makes two VMs differ; not counted as a seed
    for (hal_noise_t source = HAL_NOISE_RDSEED; source <= HAL_NOISE_RDRAND; source++) {
        uint64_t words[CPU_WORDS];
        hal_entropy_noise(source, words, hal_cpu_random(source, words, CPU_WORDS) * sizeof(words[0]));
    }
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

// The processor's words as well: a host may give two copies one seed.
static void entropy_copied(const hal_identity_t *id) {
    hal_entropy_add(id->seed, sizeof(id->seed));
    hal_entropy_init();
}
HAL_COPIED(HAL_COPIED_MACHINE, entropy_copied);
