// SPDX-License-Identifier: MIT
// The Internet checksum (RFC 1071), eight bytes at a time, alone and while copying. One's complement
// addition does not care how wide the words are, so 64-bit sums with end-around carry are folded at the end.
// Owns one flag. Not here: offloading to a device (nettx.c). Context: main loop.

#include "netsum.h"

#include <string.h>

bool netsum_offloaded;

static inline uint64_t add(uint64_t acc, uint64_t x) {
    acc += x;
    return acc + (acc < x);
}

// The tail of 0 to 7 bytes, padded with zeros at its end.
static inline uint64_t load_tail(const uint8_t *p, unsigned n) {
    uint64_t x = 0;
    for (unsigned i = 0; i < n; i++) {
        x |= (uint64_t)p[i] << (8 * i);
    }
    return x;
}

static inline uint16_t fold(uint64_t acc) {
    acc = (acc & 0xffffffff) + (acc >> 32);
    acc = (acc & 0xffff) + ((acc >> 16) & 0xffff) + (acc >> 32);
    acc = (acc & 0xffff) + (acc >> 16);
    return (uint16_t)((acc & 0xffff) + (acc >> 16));
}

uint16_t netsum_sum(const void *data, int len) {
    const uint8_t *p = data;
    uint64_t acc = 0;
    for (; len >= 32; len -= 32, p += 32) {
        uint64_t x[4];
        memcpy(x, p, sizeof x);
        acc = add(add(add(add(acc, x[0]), x[1]), x[2]), x[3]);
    }
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t x;
        memcpy(&x, p, sizeof x);
        acc = add(acc, x);
    }
    return fold(add(acc, load_tail(p, (unsigned)len)));
}

uint16_t netsum_copy(void *dst, const void *src, uint16_t len) {
    if (netsum_offloaded) {
        memcpy(dst, src, len);
        return 0;
    }
    uint8_t *d = dst;
    const uint8_t *p = src;
    uint64_t acc = 0;
    unsigned n = len;
    for (; n >= 32; n -= 32, p += 32, d += 32) {
        uint64_t x[4];
        memcpy(x, p, sizeof x);
        memcpy(d, x, sizeof x);
        acc = add(add(add(add(acc, x[0]), x[1]), x[2]), x[3]);
    }
    for (; n >= 8; n -= 8, p += 8, d += 8) {
        uint64_t x;
        memcpy(&x, p, sizeof x);
        memcpy(d, &x, sizeof x);
        acc = add(acc, x);
    }
    memcpy(d, p, n);
    return fold(add(acc, load_tail(p, n)));
}
