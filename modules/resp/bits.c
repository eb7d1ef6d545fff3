// SPDX-License-Identifier: MIT
// bits.h: eight bytes at a time where so many are left. Owns nothing. Not here: ranges and commands
// (images/redis/bits.py). Context: main loop.

#include "bits.h"

#include <string.h>

static uint64_t word_at(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static unsigned ones(uint64_t w) {
    w -= (w >> 1) & 0x5555555555555555;
    w = (w & 0x3333333333333333) + ((w >> 2) & 0x3333333333333333);
    w = (w + (w >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (unsigned)((w * 0x0101010101010101) >> 56);
}

static unsigned bit_of(const uint8_t *data, uint64_t at) { return (data[at / 8] >> (7 - at % 8)) & 1; }

uint64_t resp_bits_count(const uint8_t *data, uint64_t from, uint64_t to) {
    uint64_t count = 0;
    while (from < to) {
        if (from % 8 == 0 && to - from >= 64) {
            count += ones(word_at(data + from / 8));
            from += 64;
        } else {
            count += bit_of(data, from++);
        }
    }
    return count;
}

uint64_t resp_bits_find(const uint8_t *data, uint64_t from, uint64_t to, unsigned bit) {
    uint64_t without = bit ? 0 : UINT64_MAX; // a word in which there is none
    while (from < to) {
        if (from % 8 == 0 && to - from >= 64 && word_at(data + from / 8) == without) {
            from += 64;
        } else if (bit_of(data, from) == bit) {
            return from;
        } else {
            from++;
        }
    }
    return to;
}

void resp_bits_join(uint8_t *to, const uint8_t *from, size_t size, resp_bits_op_t op) {
    for (size_t i = 0; i < size; i++) {
        switch (op) {
            case RESP_BITS_AND:
                to[i] &= from[i];
                break;
            case RESP_BITS_OR:
                to[i] |= from[i];
                break;
            case RESP_BITS_XOR:
                to[i] ^= from[i];
                break;
            case RESP_BITS_NOT:
                to[i] = (uint8_t)~to[i];
                break;
        }
    }
}
